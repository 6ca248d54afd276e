"""The daemon from its first start to its end, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import DEADLINE, ROOT, Daemon, eventually
from tests.e2e.content import NAME, some_content
from tests.e2e.tls import TlsClient, make_certificate


@pytest.mark.parametrize("who", ["own", "ordinary"])
def test_a_life(daemon_of: Callable[[str], Daemon], who: str):
    """From nothing: it starts, takes and gives content, stops with 0 and no postgres left, and starts again on it."""
    daemon = daemon_of(who)
    client = daemon.start()
    assert client.send("GET", "/readyz").json == {"status": "ok", "database": "ok", "store": "ok"}
    content = some_content(client)
    content.check(client)
    assert daemon.postgres()
    assert daemon.stop() == 0
    assert daemon.postgres() == []
    client = daemon.start()
    content.check(client)
    some_content(client).check(client)
    assert daemon.stop() == 0
    assert daemon.postgres() == []


def test_an_ordinary_account_runs_it_all(daemon_of: Callable[[str], Daemon]):
    """Not as root: the daemon, its postgres and all files are one ordinary account's."""
    daemon = daemon_of("ordinary")
    some_content(daemon.start())
    owner = daemon.directory.stat().st_uid
    assert owner != 0
    assert Path(f"/proc/{daemon.process.pid}").stat().st_uid == owner
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in daemon.postgres()} == {owner}
    assert {path.lstat().st_uid for path in daemon.data.rglob("*")} == {owner}
    assert daemon.stop() == 0


def test_no_configuration_at_all(tmp_path: Path):
    """Without an option or a variable it would serve the loopback interface, from a directory where it was started."""
    daemon = Daemon(tmp_path)
    command = [sys.executable, "-c", "from artifactapi.cli import main; main()", "serve"]
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        daemon.process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log)
    # Port 8000 may be somebody's on this machine: both ends are of one wording.
    ends = "serving on http://127.0.0.1:8000", "cannot listen on tcp:8000:interface=127.0.0.1"
    eventually(lambda: any(end in daemon.text() for end in ends))
    daemon.process.terminate()
    daemon.wait()
    assert (tmp_path / "artifactapi-data" / "postgres" / "PG_VERSION").exists()
    assert (tmp_path / "artifactapi-data" / "objects").is_dir()


def test_a_second_daemon_on_the_same_directory(daemon: Daemon, tmp_path: Path):
    """It says in one line who has the directory, ends with 1, and the first one goes on."""
    client = daemon.start()
    second = Daemon(tmp_path / "second")
    second.spawn("--data-dir", str(daemon.data))
    assert second.wait() == 1
    complaint = f"artifactapi: data directory {daemon.data} is in use by process {daemon.process.pid}: "
    [line] = [line for line in second.text().splitlines() if "CRITICAL" in line]
    assert complaint in line
    assert "Traceback" not in second.text()
    some_content(client).check(client)


def test_in_the_background(daemon: Daemon):
    """`twistd artifactapi` without -n goes to the background, logs to twistd.log, and its pid file ends with it."""
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "artifactapi"]
    assert daemon.run(command, {}).wait(DEADLINE) == 0
    daemon.log, pid_file = daemon.directory / "twistd.log", daemon.directory / "twistd.pid"
    try:
        client = daemon.client()
        some_content(client).check(client)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
    eventually(lambda: not pid_file.exists() and not daemon.postgres())
    assert f"/v2/{NAME}/manifests/v1" in daemon.text()


def test_the_log_as_json(daemon: Daemon):
    """With --log-format json each line is an object, the request's with its fields."""
    client = daemon.start("--log-format", "json")
    client.send("GET", "/v2/", headers={"X-Request-Id": "my-own-id"})
    assert daemon.stop() == 0
    events = [json.loads(line) for line in daemon.text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= event.keys() for event in events)
    [request] = [event for event in events if "my-own-id" in event.values()]
    assert request["level"] == "info"
    assert request["status"] == 200


def test_tls(daemon: Daemon, tmp_path: Path):
    """An ssl: endpoint takes and gives the same."""
    certificate = make_certificate(tmp_path)
    plain = daemon.start("--listen", f"ssl:0:interface=127.0.0.1:privateKey={certificate}")
    assert f"serving on https://127.0.0.1:{plain.port}" in daemon.text()
    client = TlsClient(plain.host, plain.port, certificate)
    some_content(client).check(client)
    assert daemon.stop() == 0
