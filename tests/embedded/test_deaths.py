"""The end: of a Postgres that dies again and again, and of one that is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher

from artifactapi.embedded import EmbeddedError, server
from tests.embedded.steps import execute, holds, in_time, living, postmaster


@pytest.fixture
def born() -> Iterator[list[int]]:
    """The pid of every postgres that was found to accept connections. One that dies before has not started."""
    pids: list[int] = []

    def observe(event: LogEvent) -> None:
        if "accepts connections" in (event.get("log_format") or ""):
            pids.append(event["pid"])

    globalLogPublisher.addObserver(observe)
    yield pids
    globalLogPublisher.removeObserver(observe)


async def test_on_failure(used: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """When postgres cannot be brought back, on_failure gets the reason, once, after several tries."""
    monkeypatch.setattr(server, "_PAUSES", (0.01, 0.01, 0.01))
    embedded = embedded_in(used)
    failed: Deferred[EmbeddedError] = Deferred()
    embedded.on_failure = failed.callback
    await embedded.start()
    (used / "postgres" / "global" / "pg_control").write_bytes(b"")
    os.kill(postmaster(used), signal.SIGKILL)
    error = await failed
    assert "pg_control" in str(error)
    assert "\n" not in str(error)
    assert (used / "postgres.log").read_text().count("PANIC") == 3


async def test_deaths_after_short_lives_are_counted(used: Path, embedded_in, born: list[int], monkeypatch):
    """A postgres that starts well and soon dies, again and again, is given up as well."""
    monkeypatch.setattr(server, "_PAUSES", (0.01, 0.01))
    embedded = embedded_in(used)
    failed: Deferred[EmbeddedError] = Deferred()
    embedded.on_failure = failed.callback
    await embedded.start()
    for lives in range(1, 4):
        await in_time(lambda lives=lives: len(born) == lives)
        os.kill(born[-1], signal.SIGKILL)
    assert "postgres was ended by SIGKILL" in str(await failed)


async def test_deaths_after_long_lives_are_not(used: Path, embedded_in, born: list[int], monkeypatch):
    """Nothing is given up if a death a month is all there is."""
    monkeypatch.setattr(server, "_PAUSES", (0.01,))
    monkeypatch.setattr(server, "_LASTING_SECONDS", 0)
    dsn = await embedded_in(used).start()
    for lives in range(1, 4):
        await in_time(lambda lives=lives: len(born) == lives)
        os.kill(born[-1], signal.SIGKILL)
    await in_time(lambda: len(born) == 4)
    assert await deferToThread(execute, dsn, "SELECT 1") == [(1,)]


async def test_stop_while_starting(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A start that is under way ends, and leaves neither process nor lock."""
    embedded = embedded_in(tmp_path)
    starting = Deferred.fromCoroutine(embedded.start())
    ended = starting.addErrback(lambda failure: failure.type.__name__)
    await in_time(lambda: (tmp_path / "postgres.new").exists())
    await embedded.stop()
    assert await ended == "CancelledError"
    assert living(tmp_path) == []
    await embedded_in(tmp_path).start()


async def test_stop_while_starting_again(used: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A recovery that is under way ends, without on_failure, and leaves neither process nor lock."""
    monkeypatch.setattr(server, "_PAUSES", (300,))
    embedded = embedded_in(used)
    failures: list[EmbeddedError] = []
    embedded.on_failure = failures.append
    await embedded.start()
    os.kill(postmaster(used), signal.SIGKILL)
    await in_time(lambda: not living(used))
    await embedded.stop()
    assert failures == []
    await embedded_in(used).start()


async def test_stop_of_a_postgres_that_does_not_answer(used: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A postgres that no shutdown ends is killed, and nothing committed is lost."""
    monkeypatch.setattr(server, "_STOP", ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5)))
    embedded = embedded_in(used)
    dsn = await embedded.start()
    await deferToThread(execute, dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    os.kill(postmaster(used), signal.SIGSTOP)
    await embedded.stop()
    assert await deferToThread(holds, await embedded_in(used).start(), 1)


async def test_stop_ends_what_clients_are_doing(used: Path, embedded_in):
    """A stop does not wait for connected clients."""
    embedded = embedded_in(used)
    connection = await deferToThread(psycopg2.connect, await embedded.start())
    await embedded.stop()
    assert living(used) == []
    connection.close()
