"""Fixtures: daemons that have nothing but an embedded Postgres, and places for their data."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from artifactapi.embedded import EmbeddedPostgres
from artifactapi.embedded.account import account_for
from tests.embedded.steps import Program, eventually, living, unprivileged

WHO = ["own", "unprivileged"]


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A directory that every account can reach (pytest's own are closed to all but one)."""
    path = Path(tempfile.mkdtemp(prefix="artifactapi-test-"))
    path.chmod(0o755)
    yield path
    for place in path.rglob("*"):
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o755)
    shutil.rmtree(path)


@contextlib.contextmanager
def program_of(who: str) -> Iterator[Program]:
    """A daemon, not yet started, with an empty data directory: run by our account, or by an ordinary user."""
    with open_folder() as folder:
        account = unprivileged() if who == "unprivileged" else None
        (folder / "data").mkdir()
        if account:
            os.chown(folder / "data", account.uid, account.gid)
        made = Program(folder / "data", account)
        yield made
        if made.process.poll() is None:
            made.stop(signal.SIGKILL)
        made.process.stdout.close()
        eventually(lambda: not living(made.directory))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can reach."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster; a copy is made ten times as fast as a new one."""
    from twisted.internet import reactor

    directory = tmp_path_factory.mktemp("seed")
    embedded = EmbeddedPostgres(directory, reactor)
    pytest_twisted.blockon(Deferred.fromCoroutine(embedded.start()))
    pytest_twisted.blockon(Deferred.fromCoroutine(embedded.stop()))
    return directory / "postgres"


@pytest.fixture
def used(tmp_path: Path, seed: Path) -> Path:
    """A data directory with a cluster in it."""
    subprocess.run(["cp", "-a", seed, tmp_path], check=True)
    return tmp_path


@pytest.fixture(params=WHO)
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A daemon with an empty data directory."""
    with program_of(request.param) as made:
        yield made


@pytest.fixture
def used_program(program: Program, seed: Path) -> Program:
    """A daemon with a data directory that has a cluster."""
    subprocess.run(["cp", "-a", seed, program.directory], check=True)
    if os.geteuid() == 0:
        owner = program.account or account_for(program.directory / "nothing yet")
        subprocess.run(["chown", "-R", f"{owner.uid}:{owner.gid}", program.directory / "postgres"], check=True)
    return program


@pytest.fixture(scope="module", params=WHO)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Program, str]]:
    """A daemon that runs, and its DSN."""
    with program_of(request.param) as made:
        yield made, made.start()
        made.stop()
        assert living(made.directory) == []


@pytest.fixture
def embedded_in() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    """Makes an EmbeddedPostgres in this process, stopped after the test."""
    from twisted.internet import reactor

    made = []

    def make(directory: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, reactor))
        return made[-1]

    yield make
    for each in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(each.stop()))
