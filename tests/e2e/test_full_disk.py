"""A disk that is full while the daemon runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client import Answer, Client, digest_of
from tests.daemon import Daemon
from tests.e2e.content import MIB, NAME, UPLOADS, some_content, start_upload
from tests.e2e.disks import FileLimit, SmallDisk, small_disk


@pytest.fixture(params=[small_disk, lambda path, size: FileLimit(path)], ids=["disk", "limit"])
def disk(request, open_directory: Path) -> Iterator[SmallDisk | FileLimit]:
    """A disk for a data directory."""
    made = request.param(open_directory / "disk", 192)
    yield made
    made.close()


@pytest.fixture
def daemon(disk: SmallDisk | FileLimit) -> Iterator[Daemon]:
    """A daemon with all it has on that disk."""
    made = Daemon(disk.path)
    made.log = disk.path.with_name("log")
    yield made
    made.kill()


def test_x(daemon: Daemon, disk) -> None:
    client = daemon.start()
    content = some_content(client)
    loc = start_upload(client)
    big = os.urandom(4 * MIB)
    print(client.send("PATCH", loc, big[:2*MIB]))
    disk.fill(daemon)
    for i in range(3):
        print("post", client.send("POST", f"{UPLOADS}?digest={digest_of(big)}", big))
        print("patch", client.send("PATCH", loc, big[2*MIB:]), client.send("GET", loc).headers["Range"])
    print("readyz", client.send("GET", "/readyz"), client.send("GET", "/readyz").body)
    print("healthz", client.send("GET", "/healthz"))
    for i in range(40):
        small = os.urandom(50_000)
        a = client.send("POST", f"{UPLOADS}?digest={digest_of(small)}", small)
        print("small", a.status, a.body)
    content.check(client)
    disk.free(daemon)
    content.check(client)
    some_content(client).check(client)
    print(client.send("GET", loc).headers["Range"], client.send("PATCH", loc, big[2*MIB:]), client.send("PUT", f"{loc}?digest={digest_of(big)}"))
    print("readyz", client.send("GET", "/readyz").body)
    print(daemon.stop(), [l for l in daemon.text().splitlines() if " INFO " not in l])
    assert 0
