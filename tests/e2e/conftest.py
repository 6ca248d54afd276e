"""Fixtures: daemons over data directories that others have begun, and directories that every account can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactapi.embedded import binaries
from artifactapi.embedded.account import Account
from tests.daemon import Daemon


@pytest.fixture(scope="session")
def seed(tmp_path_factory) -> Path:
    """The data of a daemon that was started and stopped; a copy is quicker to start on than nothing."""
    daemon = Daemon(tmp_path_factory.mktemp("seed"))
    try:
        daemon.start()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    return daemon.data


@pytest.fixture
def daemon(tmp_path: Path, seed: Path) -> Iterator[Daemon]:
    """A daemon, not yet started, whose data directory was used before."""
    made = Daemon(tmp_path / "daemon")
    made.directory.mkdir()
    subprocess.run(["cp", "-a", seed, made.data], check=True)
    yield made
    made.kill()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can reach (pytest's own are closed to all but one)."""
    path = Path(tempfile.mkdtemp(prefix="artifactapi-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon_of(open_directory: Path) -> Iterator[Callable[[str], Daemon]]:
    """Makes a daemon, not yet started, of our own account or (if we are root) of an ordinary one."""
    made: list[Daemon] = []

    def make(who: str) -> Daemon:
        account = ordinary_account()
        directory = open_directory / who
        directory.mkdir()
        if who == "own":
            made.append(Daemon(directory))
        else:
            os.chown(directory, account.uid, account.gid)
            path = str(binaries.find(account, None, open_directory).folder) if os.geteuid() == 0 else ""
            made.append(Daemon(directory, account.name, path))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def ordinary_account() -> Account:
    """nobody, if this is root; else who we are."""
    entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
