"""What earlier lives have left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from artifactapi.embedded import EmbeddedError, EmbeddedPostgres, server
from artifactapi.embedded.cluster import Cluster
from tests.embedded.steps import Program, execute, holds, in_time, living, one_line, postmaster


async def test_the_earlier_postgres_is_waited_for(used: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """While the postgres of a killed daemon is not gone, no second one is started; then start goes on."""
    monkeypatch.setattr(server, "_ORPHAN_SECONDS", 0)
    program = Program(used)
    dsn = await deferToThread(program.start)
    await deferToThread(execute, dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    first = postmaster(used)
    os.kill(first, signal.SIGSTOP)
    await deferToThread(program.stop, signal.SIGKILL)
    embedded = embedded_in(used)
    polls = count_calls(embedded, monkeypatch)
    starting = Deferred.fromCoroutine(embedded.start())
    await in_time(lambda: len(polls) > 3)
    assert postmaster(used) == first
    assert not starting.called
    os.kill(first, signal.SIGCONT)
    assert await deferToThread(holds, await starting, 1)


def count_calls(embedded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item for each look at who is at work in the cluster, from now on."""
    calls: list[None] = []
    real = Cluster.processes

    def processes(cluster: Cluster) -> list[int]:
        calls.append(None)
        return real(cluster)

    monkeypatch.setattr(Cluster, "processes", processes)
    return calls


async def test_an_earlier_postgres_that_stays(used: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """Waiting for it ends, with its number and how to end it."""
    monkeypatch.setattr(server, "_CLEAR_SECONDS", 0.2)
    program = Program(used)
    await deferToThread(program.start)
    first = postmaster(used)
    os.kill(first, signal.SIGSTOP)
    await deferToThread(program.stop, signal.SIGKILL)
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(used).start()
    assert f"an earlier postgres (process {first}) still works in {used}/postgres: end it" in one_line(refused)
    os.kill(first, signal.SIGCONT)
    await in_time(lambda: not living(used))


async def test_an_initdb_that_was_interrupted(tmp_path: Path, embedded_in):
    """What it has left is replaced."""
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18")
    dsn = await embedded_in(tmp_path).start()
    assert await deferToThread(execute, dsn, "SELECT 1") == [(1,)]
    assert not (tmp_path / "postgres.new").exists()
