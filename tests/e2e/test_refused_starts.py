"""What keeps the daemon from starting: one line that says it, exit status 1, nothing left."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, url_of
from tests.e2e.conftest import ordinary_account
from tests.e2e.disks import small_disk

PASSWORD = "s3cret"


def reason(daemon: Daemon) -> str:
    """The one line in which an ended daemon says why."""
    assert daemon.wait() == 1
    [line] = [line for line in daemon.text().splitlines() if "CRITICAL" in line]
    assert "Traceback" not in daemon.text()
    assert daemon.postgres() == []
    return line.partition("CRITICAL artifactapi: ")[2]


def test_an_address_in_use(daemon: Daemon):
    """The port is somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon.spawn("--listen", f"tcp:{port}:interface=127.0.0.1")
        assert reason(daemon) == f"cannot listen on tcp:{port}:interface=127.0.0.1: [Errno 98] Address already in use"


@pytest.mark.parametrize(
    "endpoint, why",
    [
        ("tcp:99999", "port must be 0-65535"),
        ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
        ("unix:/nonexistent/socket", "No such file or directory"),
    ],
)
def test_an_address_that_is_none(daemon: Daemon, endpoint: str, why: str):
    """An endpoint that reads well and cannot be listened on."""
    daemon.spawn("--listen", endpoint, allow_anonymous_push="true")  # or it would want an administrator first
    said = reason(daemon)
    assert said.startswith(f"cannot listen on {endpoint}: ")
    assert why in said


@pytest.fixture
def closed(daemon_of: Callable[[str], Daemon]) -> Iterator[Daemon]:
    """A daemon of an ordinary account, whose data directory it may not write to."""
    made = daemon_of("ordinary")
    made.data.mkdir()
    account = ordinary_account()
    os.chown(made.data, account.uid, account.gid)
    made.data.chmod(0o555)
    yield made
    made.data.chmod(0o755)


def test_a_read_only_directory(closed: Daemon):
    """The data directory is read-only."""
    closed.spawn()
    assert reason(closed).startswith(f"data directory {closed.data} cannot be written (Permission denied: ")


def test_a_read_only_directory_without_the_embedded_postgres(closed: Daemon, dsn: str):
    """The data directory is read-only, and only the objects would go there."""
    closed.spawn("--data-dir", str(closed.data / "below"), "--database-url", "postgresql://nobody@127.0.0.1:1/x")
    assert reason(closed).startswith(f"data directory {closed.data}/below cannot be written (Permission denied: ")


def test_objects_that_are_no_directory(daemon: Daemon):
    """Something else is where the objects should go."""
    (daemon.data / "objects").rmdir()
    (daemon.data / "objects").touch()
    daemon.spawn()
    assert reason(daemon) == f"data directory {daemon.data}: the registry's storage fails: File exists"


@pytest.mark.parametrize("place", ["file", "file/data"])
def test_a_directory_that_is_a_file(daemon: Daemon, place: str):
    """A path that cannot be a directory."""
    (daemon.directory / "file").touch()
    daemon.spawn("--data-dir", str(daemon.directory / place))
    assert reason(daemon).startswith(f"data directory {daemon.directory}/{place} cannot be used (")


def test_a_full_disk(open_directory: Path):
    """There is not even room for an empty cluster; the next start, with room, is a first one."""
    disk = small_disk(open_directory / "disk", 8)
    daemon = Daemon(open_directory)
    try:
        daemon.run(limited(daemon), {"DATA_DIR": str(disk.path)})
        assert reason(daemon).startswith(f"initdb could not make a cluster in {disk.path}: could not write to file")
        assert not (disk.path / "postgres").exists()
    finally:
        daemon.kill()
        disk.close()
    daemon.start()
    assert daemon.stop() == 0


def limited(daemon: Daemon) -> list[str]:
    """The daemon under a limit to the length of files: it stands for a full disk where none can be mounted."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({8 << 20}, {8 << 20}))"
    return [sys.executable, "-c", f"{limit}; from artifactapi.cli import main; main()", "serve"]


@pytest.mark.parametrize(
    "url, why",
    [
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x", "Connection refused"),
        (f"postgresql://u:{PASSWORD}@nowhere.invalid/x", "nowhere.invalid"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:port/x", "its address cannot be understood"),
        (f"postgresql://u:{PASSWORD}%zz@127.0.0.1/x", "its address cannot be understood"),
        (f"postgresql://u@127.0.0.1/x?password={PASSWORD}&nonsense={PASSWORD}", "its address cannot be understood"),
    ],
)
def test_a_database_that_does_not_answer(daemon: Daemon, url: str, why: str):
    """The database's server is not there, or its URL is none; the password is nowhere."""
    daemon.spawn(database_url=url, start_patience="0")
    said = reason(daemon)
    assert said.startswith("cannot connect to the database: ")
    assert why in said
    assert PASSWORD not in daemon.text()


def test_a_database_that_is_not_there(daemon: Daemon, dsn: str):
    """The server has no such database."""
    daemon.spawn(database_url=url_of(f"{dsn} dbname=nowhere password={PASSWORD}"))
    assert 'database "nowhere" does not exist' in reason(daemon)
    assert PASSWORD not in daemon.text()
