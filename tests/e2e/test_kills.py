"""kill -9, of the daemon and of Postgres: what was acknowledged is there, byte for byte."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.client import Client, digest_of
from tests.daemon import Daemon, eventually
from tests.e2e.content import KIB, MIB, NAME, Content, Refused, offset_of, start_upload

BROKEN = (OSError, http.client.HTTPException)  # what a client sees of a daemon that is killed


class Pusher(threading.Thread):
    """Pushes images until it is stopped or the daemon has gone. `content` is what was acknowledged."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.content = Content()
        self.refused: set[int] = set()
        self.stopped = False
        self._client = client

    def run(self) -> None:
        """Until it is stopped."""
        with contextlib.suppress(*BROKEN):
            while not self.stopped:
                self._push(uuid4().hex)

    def _push(self, tag: str) -> None:
        try:
            self.content.push_image(self._client, tag, 70 * KIB)
        except Refused as refusal:
            self.refused.add(refusal.status)


@contextlib.contextmanager
def pushing(client: Client) -> Iterator[list[Pusher]]:
    """Four clients that push; inside, each has some images acknowledged, and goes on."""
    pushers = [Pusher(client) for _ in range(4)]
    for pusher in pushers:
        pusher.start()
    try:
        wait_for_more(pushers)
        yield pushers
    finally:
        for pusher in pushers:
            pusher.stopped = True
            pusher.join()


def wait_for_more(pushers: list[Pusher]) -> None:
    """Until each has two more images."""
    wanted = {pusher: len(pusher.content.tags) + 2 for pusher in pushers}
    eventually(lambda: all(len(pusher.content.tags) >= count for pusher, count in wanted.items()))


@pytest.mark.parametrize("victims", ["the daemon", "the daemon and postgres"])
def test_kill_9_of_the_daemon(daemon: Daemon, victims: str):
    """Killed while clients push, and started again on the same data, twice: all that was acknowledged is there."""
    contents = []
    for _ in range(2):
        client = daemon.start()
        postgres = daemon.postgres_pid()
        with pushing(client) as pushers:
            if victims == "the daemon and postgres":
                os.kill(postgres, signal.SIGKILL)
            daemon.kill()
        eventually(lambda: not daemon.postgres())
        contents += [pusher.content for pusher in pushers]
    client = daemon.start()
    for content in contents:
        content.check(client)
    assert daemon.stop() == 0


@pytest.mark.parametrize("size", [20 * KIB, 6 * MIB], ids=["row", "file"])
def test_an_upload_goes_on_after_a_kill(daemon: Daemon, size: int):
    """A session whose daemon was killed in a PATCH has all that was acknowledged, and goes on from its status."""
    client, content = daemon.start(), os.urandom(size)
    location, half = start_upload(client), size // 2
    answer = client.send("PATCH", location, content[:half], {"Content-Range": f"0-{half - 1}"})
    assert answer.status == 202
    with client.connect() as connection:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {size - half}\r\n\r\n".encode()
        connection.sendall(head + content[half : half + size // 4])
        daemon.kill()
    client = daemon.start()
    at = offset_of(client, location)
    assert half <= at <= half + size // 4
    answer = client.send("PATCH", location, content[at:], {"Content-Range": f"{at}-{size - 1}"})
    assert answer.headers["Range"] == f"0-{size - 1}"
    assert client.send("PUT", f"{location}?digest={digest_of(content)}").status == 201
    assert client.send("GET", f"/v2/{NAME}/blobs/{digest_of(content)}").body == content


def test_kill_9_of_postgres(daemon: Daemon):
    """The daemon lives on, answers with 503 meanwhile and never with 500; what it acknowledged, then too, is there."""
    client = daemon.start()
    with pushing(client) as pushers:
        for _ in range(2):
            kill_postgres(daemon)
            wait_for_more(pushers)
    assert set().union(*(pusher.refused for pusher in pushers)) <= {503}
    assert client.send("GET", "/readyz").status == 200
    for pusher in pushers:
        pusher.content.check(client)
    assert daemon.stop() == 0
    assert daemon.postgres() == []


def kill_postgres(daemon: Daemon) -> None:
    """Kill it, and wait for the next one."""
    killed = daemon.postgres_pid()
    os.kill(killed, signal.SIGKILL)

    def replaced() -> bool:
        with contextlib.suppress(OSError, IndexError):  # its pid file is gone, or not yet written
            return daemon.postgres_pid() != killed
        return False

    eventually(replaced)


def test_a_postgres_that_does_not_come_back(daemon: Daemon):
    """When Postgres cannot be started again the daemon says why in one line, and ends with 1."""
    daemon.start()
    (daemon.data / "postgres" / "global" / "pg_control").write_bytes(b"")
    os.kill(daemon.postgres_pid(), signal.SIGKILL)
    assert daemon.wait() == 1
    [line] = [line for line in daemon.text().splitlines() if "CRITICAL artifactapi: " in line]
    assert "pg_control" in line
    assert "Traceback" not in daemon.text()
    assert daemon.postgres() == []
