"""A disk that is full while the daemon runs: pushes are refused, everything else goes on, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Answer, Client, digest_of
from tests.daemon import Daemon, eventually
from tests.e2e.content import KIB, MIB, NAME, UPLOADS, some_content, start_upload
from tests.e2e.disks import FileLimit, SmallDisk, small_disk

Disk = SmallDisk | FileLimit


@pytest.fixture
def disk(open_directory: Path) -> Iterator[Disk]:
    """A disk for a data directory."""
    made = small_disk(open_directory / "disk", 192)
    yield made
    made.close()


@pytest.fixture
def daemon(disk: Disk) -> Iterator[Daemon]:
    """A daemon with all it has on that disk, but for its log."""
    made = Daemon(disk.path)
    made.log = disk.path.with_name("log")
    yield made
    made.kill()
    eventually(lambda: not made.postgres())


def post(client: Client, content: bytes) -> Answer:
    """Push a blob in one request."""
    return client.send("POST", f"{UPLOADS}?digest={digest_of(content)}", content)


def is_full(answer: Answer) -> bool:
    """Whether it says so as the OCI specification has errors."""
    [error] = answer.json["errors"]
    return (answer.status, error["code"]) == (507, "UNAVAILABLE") and "disk is full" in error["message"]


def test_a_full_disk(daemon: Daemon, disk: Disk):
    """Pushes get 507 and pulls go on; with space freed pushes work again, and the session that was refused goes on."""
    client, half = daemon.start(), 2 * MIB
    kept, large = some_content(client), os.urandom(2 * half)
    location = start_upload(client)
    assert client.send("PATCH", location, large[:half]).status == 202
    disk.fill(daemon)
    for _ in range(3):
        assert is_full(post(client, os.urandom(MIB)))
        assert is_full(client.send("PATCH", location, large[half:]))
        assert client.send("GET", location).headers["Range"] == f"0-{half - 1}"
    ready = client.send("GET", "/readyz")
    assert (ready.status, ready.json["store"]) == (503, "the registry's disk is full")
    assert client.send("GET", "/healthz").status == 200
    kept.check(client)
    disk.free(daemon)
    kept.check(client)
    some_content(client).check(client)
    assert client.send("PATCH", location, large[half:]).headers["Range"] == f"0-{2 * half - 1}"
    assert client.send("PUT", f"{location}?digest={digest_of(large)}").status == 201
    assert client.send("GET", f"/v2/{NAME}/blobs/{digest_of(large)}").body == large
    assert client.send("GET", "/readyz").status == 200
    assert daemon.stop() == 0


def test_the_file_limit_is_as_a_full_disk(daemon: Daemon):
    """What stands for a full disk where none can be mounted refuses the same pushes in the same way."""
    limit = FileLimit(daemon.directory / "limit")
    client = daemon.start()
    limit.fill(daemon)
    assert is_full(post(client, os.urandom(MIB)))
    assert post(client, os.urandom(KIB)).status == 201  # a row: its file is Postgres'
    limit.free(daemon)
    some_content(client).check(client)


def test_rows_on_a_full_disk(daemon: Daemon, disk: Disk):
    """Small blobs are rows, and get 507 as well when Postgres has no space for them; it lives on."""
    client = daemon.start()
    kept = some_content(client)
    disk.fill(daemon)
    answers = [post(client, os.urandom(60 * KIB)) for _ in range(20)]
    assert all(answer.status == 201 or is_full(answer) for answer in answers)
    assert is_full(answers[-1]) or isinstance(disk, FileLimit)
    disk.free(daemon)
    kept.check(client)
    assert post(client, os.urandom(60 * KIB)).status == 201


def test_postgres_dies_on_a_full_disk(daemon: Daemon, disk: Disk):
    """A Postgres that cannot be started for want of space is started once there is some; until then it is 503."""
    client = daemon.start()
    kept = some_content(client)
    disk.fill(daemon)
    os.kill(daemon.postgres_pid(), signal.SIGKILL)
    if isinstance(disk, SmallDisk):
        eventually(lambda: "postgres waits for some" in daemon.text())
        answer = client.send("GET", f"/v2/{NAME}/manifests/v1")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    disk.free(daemon)
    eventually(lambda: client.send("GET", "/readyz").status == 200)
    kept.check(client)
    some_content(client).check(client)
