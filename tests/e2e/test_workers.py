"""--workers: one port served from several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.client import Client, digest_of
from tests.daemon import Daemon, eventually, url_of
from tests.e2e.content import KIB, MIB, NAME, Content, offset_of, some_content, start_upload
from tests.e2e.test_refused_starts import PASSWORD, reason
from tests.e2e.test_stopping import begin, read_all, refuses
from tests.e2e.tls import TlsClient, make_certificate
from tests.upstream.scripted import Scripted, partly

SERVES = re.compile(r"worker (\d) \(pid (\d+)\) serves")


def workers(daemon: Daemon) -> dict[int, int]:
    """The pids of the workers that serve, or did last, by number."""
    return {int(number): int(pid) for number, pid in SERVES.findall(daemon.text())}


def state_of(pid: int) -> str:
    """What a process is at; "" if there is none, or all that is left is its status."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state == "Z" else state


def counted(client: Client, route: str) -> dict[str, float]:
    """How many requests of a route each worker has answered, as /metrics has it."""
    families = text_string_to_metric_families(client.send("GET", "/metrics").body.decode())
    counts: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == "artifactapi_request_seconds_count" and sample.labels["route"] == route:
            worker = sample.labels["worker"]
            counts[worker] = counts.get(worker, 0) + sample.value
    return counts


def test_a_push_through_both(daemon: Daemon):
    """Each connection, and so each request of a push here, goes to the next worker; what one took, the other gives."""
    client, content = daemon.start("--workers", "2"), os.urandom(3 * MIB)
    assert set(workers(daemon)) == {1, 2}
    location = start_upload(client)
    assert client.send("PATCH", location, content[:MIB]).status == 202
    assert client.send("PATCH", location, content[MIB : 2 * MIB]).status == 202
    assert offset_of(client, location) == 2 * MIB
    assert client.send("PUT", f"{location}?digest={digest_of(content)}", content[2 * MIB :]).status == 201
    for _ in range(2):
        assert client.send("GET", f"/v2/{NAME}/blobs/{digest_of(content)}").body == content
    assert counted(client, "upload") == {"1": 2, "2": 2}
    some_content(client).check(client)
    assert daemon.stop() == 0
    assert daemon.postgres() == []


def test_metrics(daemon: Daemon):
    """/metrics tells what each worker has counted, whichever is asked."""
    client = daemon.start("--workers", "2")
    for _ in range(10):
        assert client.send("GET", "/healthz").status == 200
    assert counted(client, "healthz") == counted(client, "healthz") == {"1": 5, "2": 5}
    shown = client.send("GET", "/metrics").body.decode()
    assert shown.count("# TYPE artifactapi_request_seconds histogram") == 1
    assert shown.count("\nartifactapi_upload_sessions ") == 1
    assert shown.count("\nprocess_resident_memory_bytes{") == 2
    assert daemon.stop() == 0


def test_metrics_of_a_worker_that_hangs(daemon: Daemon):
    """Of a worker that does not answer nothing is said, and the others are shown all the same."""
    client = daemon.start("--workers", "2")
    halted = workers(daemon)[2]
    assert client.send("GET", "/healthz").status == 200  # so that the next connection is the other one's
    os.kill(halted, signal.SIGSTOP)
    eventually(lambda: state_of(halted) == "T")
    try:
        with client.connect():
            shown = counted(client, "healthz")
    finally:
        os.kill(halted, signal.SIGCONT)
    assert shown.keys() == {"1"}
    assert daemon.stop() == 0


def test_kill_9_of_a_worker(daemon: Daemon):
    """The other one serves on, and a new one takes its place; a session that it had goes on."""
    client, content = daemon.start("--workers", "2"), os.urandom(200 * KIB)
    location = start_upload(client)
    assert client.send("PATCH", location, content[: 100 * KIB]).status == 202
    kept, killed = some_content(client), workers(daemon)[2]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not state_of(killed))
    eventually(lambda: "worker 2 was ended" in daemon.text())
    kept.check(client)
    eventually(lambda: workers(daemon)[2] != killed)
    assert client.send("PATCH", location, content[100 * KIB :]).status == 202
    assert client.send("PUT", f"{location}?digest={digest_of(content)}").status == 201
    kept.check(client)
    assert set(counted(client, "blob")) == {"1", "2"}
    assert "worker 2 was ended by SIGKILL; it is started again" in daemon.text()
    assert daemon.stop() == 0


def test_cold_pulls_through_both(daemon: Daemon, scripted: Scripted):
    """Twenty pulls at the same time of a blob that no worker has are one request to its upstream."""
    client, content = daemon.start("--workers", "2"), os.urandom(8 * MIB)
    scripted.on("GET .*/blobs/", partly(content))
    repo = {"name": "hub", "package_type": "docker", "repo_type": "remote", "settings": {"upstream": scripted.url}}
    assert client.send("POST", "/api/v1/repos", json.dumps(repo).encode()).status == 201
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: client.send("GET", f"/v2/hub/app/blobs/{digest_of(content)}"), range(20)))
    assert {(answer.status, digest_of(answer.body)) for answer in found} == {(200, digest_of(content))}
    assert counted(client, "blob") == {"1": 10, "2": 10}
    assert len(scripted.seen) == 1
    assert daemon.stop() == 0


def test_sigterm(daemon: Daemon):
    """All workers stop as one process does: red at /readyz first, then the port closes, running requests end, 0."""
    client, content = daemon.start("--workers", "2", "--drain-seconds", "3"), os.urandom(2 * MIB)
    pids = list(workers(daemon).values())
    connection = begin(client, "PATCH", start_upload(client), f"Content-Length: {len(content)}")
    connection.sendall(content[:MIB])
    eventually(lambda: list((daemon.data / "staging").rglob("*")))
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: client.send("GET", "/readyz").status == 503)
    assert Content().push_blob(client, content)
    eventually(lambda: refuses(client))
    connection.sendall(content[MIB:])
    assert read_all(connection).startswith(b"HTTP/1.1 202 ")
    assert daemon.wait() == 0
    assert not any(map(state_of, pids))
    assert daemon.postgres() == []
    assert "started again" not in daemon.text()


def test_ctrl_c(daemon: Daemon):
    """An interrupt from the terminal, which all its processes get, ends them with 0 and without a traceback."""
    daemon.run(daemon._command(("--workers", "2")), {}, start_new_session=True)
    some_content(daemon.client())
    os.killpg(daemon.process.pid, signal.SIGINT)
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.text()
    assert not any(map(state_of, workers(daemon).values()))


def test_kill_9_of_the_first_process(daemon: Daemon):
    """The workers end, and so does Postgres; nothing is in the way of the next start, at the same address."""
    client = daemon.start("--workers", "2", "--drain-seconds", "3600")
    kept, pids = some_content(client), list(workers(daemon).values())
    daemon.kill()
    eventually(lambda: not any(map(state_of, pids)) and not daemon.postgres())
    again = daemon.start("--workers", "2", "--listen", f"tcp:{client.port}:interface=127.0.0.1")
    kept.check(again)
    assert daemon.stop() == 0


def test_a_start_that_is_stopped(daemon: Daemon):
    """SIGTERM before the workers serve ends all with 0."""
    daemon.spawn("--workers", "2")
    eventually(lambda: "accepts connections" in daemon.text())
    assert daemon.stop() == 0
    assert "CRITICAL" not in daemon.text()
    assert daemon.postgres() == []


def test_a_worker_that_cannot_start(daemon: Daemon):
    """What keeps a worker from starting is said once, and ends all with 1."""
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"
    daemon.spawn("--workers", "3", database_url=url, start_patience="0")
    assert reason(daemon).startswith("cannot connect to the database: ")
    assert PASSWORD not in daemon.text()


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
def test_an_address_in_use(daemon: Daemon, interface: str):
    """The port is somebody else's: one line, status 1."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.create_server((interface, 0), family=family) as other:
        kind = "tcp6" if ":" in interface else "tcp"
        where = f"{kind}:{other.getsockname()[1]}:interface={interface.replace(':', chr(92) + ':')}"
        daemon.spawn("--workers", "2", "--listen", where)
        assert reason(daemon) == f"cannot listen on {where}: [Errno 98] Address already in use"


def test_tls(daemon: Daemon, tmp_path: Path):
    """An ssl: endpoint is served by each worker."""
    certificate = make_certificate(tmp_path)
    plain = daemon.start("--workers", "2", "--listen", f"ssl:0:interface=127.0.0.1:privateKey={certificate}")
    client = TlsClient(plain.host, plain.port, certificate)
    kept = some_content(client)
    kept.check(client)
    assert counted(client, "blob").keys() == {"1", "2"}
    assert daemon.stop() == 0


def test_no_secret_on_a_command_line(daemon: Daemon, dsn: str):
    """The database's password, given in the environment, is in no process' arguments."""
    daemon.start("--workers", "2", database_url=url_of(f"{dsn} password={PASSWORD}"))
    for pid in (daemon.process.pid, *workers(daemon).values()):
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert daemon.stop() == 0
    assert PASSWORD not in daemon.text()


def test_the_log(daemon: Daemon):
    """All workers write to the one standard output, line by line."""
    client = daemon.start("--workers", "2", "--log-format", "json")
    for number in (1, 2):
        client.send("GET", "/v2/", headers={"X-Request-Id": f"to-{number}"})
    assert daemon.stop() == 0
    events = [json.loads(line) for line in daemon.text().splitlines()]
    assert {"to-1", "to-2"} <= {event.get("request_id") for event in events}
