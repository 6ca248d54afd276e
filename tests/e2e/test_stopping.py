"""SIGTERM: what runs may end, what does not end is cut, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from artifactapi.metadata.schema import LOCK
from tests.client import Client, digest_of
from tests.daemon import Daemon, eventually, url_of
from tests.e2e.content import MIB, NAME, Content, offset_of, some_content, start_upload


def refuses(client: Client) -> bool:
    """Whether nobody listens there any more."""
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def begin(client: Client, method: str, path: str, *headers: str, buffer: int = 0) -> socket.socket:
    """A connection on which the head of a request was sent; `buffer` is how little of the answer the kernel keeps."""
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(30)
    connection.connect((client.host, client.port))
    connection.sendall("\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *headers, "", "")).encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = []
    with connection:
        while more := connection.recv(MIB):
            received.append(more)
    return b"".join(received)


def test_a_running_upload_ends(daemon: Daemon):
    """A PATCH under way when SIGTERM comes is taken to its end and acknowledged; the blob is there afterwards."""
    client, content = daemon.start(), os.urandom(8 * MIB)
    location = start_upload(client)
    connection = begin(client, "PATCH", location, f"Content-Length: {len(content)}")
    connection.sendall(content[: 4 * MIB])
    eventually(lambda: list((daemon.data / "staging").rglob("*")))
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(client))
    connection.sendall(content[4 * MIB :])
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert f"Range: 0-{len(content) - 1}".encode() in answer
    assert daemon.wait() == 0
    assert daemon.postgres() == []
    client = daemon.start()
    assert client.send("PUT", f"{location}?digest={digest_of(content)}").status == 201
    assert client.send("GET", f"/v2/{NAME}/blobs/{digest_of(content)}").body == content


def test_the_balancer_is_told_first(daemon: Daemon):
    """With --drain-seconds /readyz is 503 while new requests are served; then the port closes, and running ones end."""
    client, content = daemon.start("--drain-seconds", "3"), os.urandom(8 * MIB)
    kept, location = some_content(client), start_upload(client)
    connection = begin(client, "PATCH", location, f"Content-Length: {len(content)}")
    connection.sendall(content[: 4 * MIB])
    assert client.send("GET", "/readyz").status == 200
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: client.send("GET", "/readyz").status == 503)
    assert client.send("GET", "/readyz").json["service"] == "stopping"
    kept.check(client)
    eventually(lambda: refuses(client))
    connection.sendall(content[4 * MIB :])
    assert read_all(connection).startswith(b"HTTP/1.1 202 ")
    assert daemon.wait() == 0
    assert daemon.postgres() == []


def test_more_signals(daemon: Daemon):
    """Further signals to a daemon that stops change nothing: a running request ends all the same."""
    client, content = daemon.start(), os.urandom(2 * MIB)
    connection = begin(client, "PATCH", start_upload(client), f"Content-Length: {len(content)}")
    connection.sendall(content[:MIB])
    eventually(lambda: list((daemon.data / "staging").rglob("*")))
    for number, told in enumerate((signal.SIGTERM, signal.SIGTERM, signal.SIGINT)):
        daemon.process.send_signal(told)
        eventually(lambda number=number: daemon.text().count("stopping already") == number)
        eventually(lambda: refuses(client))
    connection.sendall(content[MIB:])
    assert read_all(connection).startswith(b"HTTP/1.1 202 ")
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.text()


@pytest.mark.parametrize("size", [60_000, 200_000, 32 * MIB], ids=["row", "small file", "file"])
def test_a_running_download_ends(daemon: Daemon, size: int):
    """A client that was reading when SIGTERM came gets every byte, though it is slow; then the daemon ends with 0."""
    client = daemon.start()
    digest = Content().push_blob(client, content := os.urandom(size))
    connection = begin(client, "GET", f"/v2/{NAME}/blobs/{digest}", buffer=4096)
    assert connection.recv(1) == b"H"
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(client))
    assert daemon.process.poll() is None
    assert read_all(connection).endswith(content)
    assert daemon.wait() == 0
    assert daemon.postgres() == []


def test_idle_connections_do_not_keep_it(daemon: Daemon):
    """A kept-alive connection and one that never asked anything are closed at once."""
    client = daemon.start("--shutdown-grace", "3600")
    silent = client.connect()
    kept = begin(client, "GET", "/healthz")
    assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert daemon.stop() == 0
    assert (read_all(silent), read_all(kept)[:5]) == (b"", b"")


def test_what_does_not_end_is_cut(daemon: Daemon):
    """After the grace a request that still runs is cut; after a restart it goes on from its session's status."""
    client, content = daemon.start("--shutdown-grace", "0"), os.urandom(4 * MIB)
    location = start_upload(client)
    connection = begin(client, "PATCH", location, f"Content-Length: {len(content)}")
    connection.sendall(content[:MIB])
    eventually(lambda: list((daemon.data / "staging").rglob("*")))
    assert daemon.stop() == 0
    assert daemon.postgres() == []
    connection.close()
    client = daemon.start()
    at = offset_of(client, location)
    assert at in (1, MIB)  # a Range of 0-0 is none
    at = 0 if at == 1 else at
    answer = client.send("PATCH", location, content[at:], {"Content-Range": f"{at}-{len(content) - 1}"})
    assert answer.status == 202
    assert client.send("PUT", f"{location}?digest={digest_of(content)}").status == 201


@pytest.mark.parametrize(
    "moment",
    [lambda daemon: daemon.data.exists(), lambda daemon: "accepts connections" in daemon.text()],
    ids=["first", "last"],
)
def test_a_start_that_is_stopped(daemon_of: Callable[[str], Daemon], moment: Callable[[Daemon], bool]):
    """SIGTERM while it starts for the first time ends it with 0, nothing is left, and the next start is whole."""
    daemon = daemon_of("own")
    daemon.spawn()
    eventually(lambda: moment(daemon))
    assert daemon.stop() == 0, daemon.text()
    assert "CRITICAL artifactapi" not in daemon.text()
    assert daemon.postgres() == []
    daemon.start()
    assert daemon.stop() == 0


def test_a_start_that_waits_is_stopped(tmp_path: Path, dsn: str):
    """SIGTERM ends a start that waits, for as long as it takes, until another replica has migrated the schema."""
    daemon = Daemon(tmp_path)
    with contextlib.closing(psycopg2.connect(dsn)) as other:
        other.cursor().execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        try:
            daemon.spawn("--database-url", url_of(dsn))
            eventually(lambda: waits_for_lock(other))
            assert daemon.stop() == 0
        finally:
            daemon.kill()
    assert "CRITICAL artifactapi" not in daemon.text()
    assert not (daemon.data / "postgres").exists()


def waits_for_lock(connection: psycopg2.extensions.connection) -> bool:
    """Whether somebody waits for an advisory lock."""
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return cursor.fetchone() == (1,)
