"""The pool while connections die, and while there is no Postgres."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import globalLogPublisher

from artifactapi.embedded import EmbeddedPostgres
from artifactapi.metadata import database as module
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import OciError, Unavailable
from tests.metadata.conftest import PATIENCE, eventually, in_time

SECRET = "hunter2-secret"


@pytest.fixture
def logged():
    """What was logged during the test."""
    events: list[dict] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


async def works(database: Database) -> bool:
    """Whether a statement succeeds; the only other thing it may be is Unavailable."""
    try:
        return await database.one("SELECT 1") == (1,)
    except Unavailable:
        return False


async def recovers(database: Database) -> None:
    """All connections come back, and each of them works."""
    await eventually(lambda: (database.idle, database.busy) == (database.size, 0))
    calls = [database.one("SELECT pg_backend_pid() FROM pg_sleep(0.05)") for _ in range(database.size)]
    pids = [pid for _, pid in await DeferredList(list(map(Deferred.fromCoroutine, calls)))]
    assert len(set(pids)) == database.size, pids


async def test_idle_connections_are_replaced(pool, onlooker):
    """Connections that the server ends while nobody uses them are replaced, without any caller noticing."""
    database = await pool(3)
    before = onlooker.backends()
    onlooker.kill(before)
    await eventually(lambda: len(onlooker.backends() - before) == 3)
    await recovers(database)
    assert not onlooker.backends() & before


async def test_busy_connections_are_replaced(pool, onlooker):
    """A statement and a transaction whose connection dies are Unavailable, 503; the pool is whole again at once."""
    database = await pool(2)
    before = onlooker.backends()

    async def work(transaction):
        await transaction.query("INSERT INTO repos (name, package_type, repo_type) VALUES ('x', 'docker', 'local')")
        await transaction.query("SELECT pg_sleep(10)")

    calls = [Deferred.fromCoroutine(c) for c in (database.query("SELECT pg_sleep(10)"), database.transaction(work))]
    await eventually(lambda: onlooker.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 2)
    onlooker.kill(before)
    for call in calls:
        with pytest.raises(Unavailable) as error:
            await call.addTimeout(PATIENCE, reactor)
        assert (error.value.status, error.value.headers) == (503, {"Retry-After": "1"})
    await recovers(database)
    assert onlooker.value("SELECT count(*) FROM repos") == 0


async def test_a_transaction_that_idled_too_long(pool, onlooker):
    """A transaction that the server ends because nothing comes is Unavailable, and its connection is replaced."""
    database = await pool(1)

    async def work(transaction):
        await transaction.query("SET LOCAL idle_in_transaction_session_timeout = 20")
        [backend] = onlooker.backends()
        await eventually(lambda: backend not in onlooker.backends())
        await transaction.query("SELECT 1")

    with pytest.raises(Unavailable):
        await in_time(database.transaction(work))
    await recovers(database)


async def test_a_lost_transaction_in_the_log(pool, onlooker, logged):
    """A transaction whose connection dies is a line in the log, and another one for the connection: no traceback."""
    database = await pool(1)
    call = Deferred.fromCoroutine(database.transaction(lambda transaction: transaction.query("SELECT pg_sleep(10)")))
    await eventually(lambda: onlooker.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1)
    onlooker.kill(onlooker.backends())
    with pytest.raises(Unavailable):
        await call.addTimeout(PATIENCE, reactor)
    await recovers(database)
    assert [str(event["log_level"].name) for event in logged] == ["warn", "warn"]
    assert not any("log_failure" in event for event in logged)


async def test_an_error_in_a_transaction_whose_connection_died(pool, onlooker):
    """The work's own error is what its caller gets, although nothing can be rolled back; the connection is replaced."""
    database = await pool(1)

    async def work(transaction):
        await transaction.query("SELECT 1")
        onlooker.kill(onlooker.backends())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await in_time(database.transaction(work))
    await recovers(database)


async def test_waiting_callers_get_the_new_connections(pool, onlooker):
    """Callers that wait while every connection dies are served by those that replace them."""
    database = await pool(1)
    held = Deferred.fromCoroutine(database.query("SELECT pg_sleep(10)")).addErrback(lambda failure: failure.value)
    waits = [Deferred.fromCoroutine(database.one("SELECT %s", (n,))) for n in range(5)]
    await eventually(lambda: onlooker.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1)
    onlooker.kill(onlooker.backends())
    assert isinstance(await held, Unavailable)
    assert [answer for _, answer in await DeferredList(waits).addTimeout(PATIENCE, reactor)] == [(n,) for n in range(5)]


@pytest.mark.parametrize(
    "code, error",
    [
        ("08006", Unavailable),
        ("25006", Unavailable),
        ("53200", Unavailable),
        ("53100", OciError),
        ("53300", Unavailable),
        ("55P03", Unavailable),
        ("57014", Unavailable),
        ("57P01", Unavailable),
        ("57P03", Unavailable),
        ("58030", Unavailable),
        ("23514", psycopg2.IntegrityError),
        ("42P01", psycopg2.ProgrammingError),
        ("XX000", psycopg2.InternalError),
    ],
)
async def test_sqlstates(pool, code, error):
    """What may pass is told as 503, a full disk as 507, a bug as the bug it is; afterwards the pool is whole."""
    database = await pool(1)
    with pytest.raises(error) as raised:
        await database.query(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
    if isinstance(raised.value, OciError):
        assert raised.value.status == (507 if code == "53100" else 503)
    await recovers(database)


async def test_nobody_listens():
    """A database that cannot be reached fails the start in one line, without the password of its address."""
    database = Database(f"host=127.0.0.1 port=1 user=u password={SECRET} dbname=d", 2, reactor)
    with pytest.raises(Unavailable, match=r"cannot connect to the database: .*refused") as error:
        await database.start()
    shown = str(error.value) + repr(error.value.detail) + repr(error.value.__cause__)
    assert SECRET not in shown
    assert "\n" not in shown
    with pytest.raises(Unavailable):
        await database.query("SELECT 1")
    await database.stop()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:{}@127.0.0.1:port/d",
        "postgresql://u:{}/@127.0.0.1/d",
        "postgresql://u:p@{}@127.0.0.1/d",
        "postgresql://u:p%{}@127.0.0.1/d",
        "postgresql://u:p@127.0.0.1/d?sslmode={}",
        "host=127.0.0.1 pasword={}",
        "postgres//{}",
    ],
)
async def test_bad_addresses(address):
    """An address with a mistake in it fails the start, and nothing of it is shown: it holds a password."""
    database = Database(address.format(SECRET), 1, reactor)
    with pytest.raises(Unavailable, match="address cannot be understood") as error:
        await database.start()
    assert SECRET not in str(error.value)
    await database.stop()


async def test_a_server_that_says_nothing(monkeypatch):
    """A server that takes the connection and never answers fails the start in time, and leaves no socket open."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)
    before = sorted(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"host=127.0.0.1 port={silent.getsockname()[1]} user=u password={SECRET}", 1, reactor)
        with pytest.raises(Unavailable, match="timed out") as error:
            await in_time(database.start())
        assert SECRET not in str(error.value)
        await database.stop()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path):
    """A Postgres of the test's own, its directory and its DSN."""
    running = EmbeddedPostgres(tmp_path, reactor)
    yield tmp_path / "postgres", await running.start()
    await running.stop()


async def test_postgres_is_killed_and_comes_back(server, pool, onlooker, logged):
    """While Postgres is away calls fail with Unavailable and nothing else; when it is back they work, all of them."""
    directory, address = server
    database = await pool(3, at=f"{address} password={SECRET}")
    await database.query("CREATE TABLE t (n int)")
    postmaster = int((directory / "postmaster.pid").read_text().split()[0])
    calls = [Deferred.fromCoroutine(database.query("SELECT pg_sleep(10)")) for _ in range(2)]
    os.kill(postmaster, signal.SIGKILL)
    for call in calls:
        with pytest.raises(Unavailable):
            await call.addTimeout(PATIENCE, reactor)
    await in_time(again_and_again(database))
    await database.query("INSERT INTO t VALUES (1)")
    await recovers(database)
    assert SECRET not in "".join(str(event) for event in logged)


async def again_and_again(database: Database) -> None:
    """Ask until it works."""
    while not await works(database):
        pass


async def test_postgres_shuts_down(server, pool, monkeypatch):
    """A pool whose Postgres is stopped refuses calls in time, and can be stopped itself."""
    directory, address = server
    database = await pool(2, at=address)
    os.kill(int((directory / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    await eventually(lambda: database.idle == 0)
    monkeypatch.setattr(module, "ACQUIRE_SECONDS", 0.05)
    assert await in_time(works(database)) in (True, False)
    await database.stop()
    with pytest.raises(Unavailable):
        await database.query("SELECT 1")
