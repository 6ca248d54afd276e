"""The pool over a real Postgres that works: statements, transactions, waiting, cancellation."""

from __future__ import annotations

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from artifactapi.metadata import database as module
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import Unavailable
from tests.metadata.conftest import eventually, in_time

SLOW = "SELECT pg_sleep(10)"


@pytest.fixture
def rows(onlooker):
    """What is in table t, which is empty."""
    onlooker.rows("CREATE TABLE t (n int PRIMARY KEY)")
    return lambda: [n for (n,) in onlooker.rows("SELECT n FROM t ORDER BY n")]


async def test_statements(pool):
    """query gives all rows, and none for a statement that has none; one gives the first, or None."""
    database = await pool(1)
    assert await database.query("SELECT n FROM generate_series(1, %s) n", (3,)) == [(1,), (2,), (3,)]
    assert await database.one("SELECT n, 'x' FROM generate_series(5, 9) n") == (5, "x")
    assert await database.one("SELECT 1 WHERE %(no)s", {"no": False}) is None
    assert await database.query("SET application_name = 'artifactapi'") == []


async def test_settings_of_a_session(pool):
    """Each connection has the limits that keep a stuck statement from holding it for ever, and speaks UTC."""
    database = await pool(1)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")
    rows = [await database.one(f"SHOW {name}") for name in names]
    assert rows == [("30s",), ("5s",), ("1min",), ("UTC",)]


async def test_several_at_once(pool):
    """Twice as many callers as connections are all served, each with its own answer."""
    database = await pool(3)
    work = [Deferred.fromCoroutine(database.one("SELECT %s FROM pg_sleep(0.01)", (n,))) for n in range(30)]
    assert database.busy == 3
    assert [answer for _, answer in await DeferredList(work)] == [(n,) for n in range(30)]
    assert (database.busy, database.idle) == (0, 3)


async def test_transaction(pool, rows):
    """The statements of a transaction are committed together, and its result is what the work returned."""
    database = await pool(2)

    async def work(transaction):
        await transaction.query("INSERT INTO t VALUES (1)")
        assert rows() == []
        assert await transaction.one("SELECT count(*) FROM t") == (1,)
        assert await transaction.one("SELECT 1 WHERE false") is None
        return await transaction.query("INSERT INTO t VALUES (2), (3) RETURNING n")

    assert await database.transaction(work) == [(2,), (3,)]
    assert rows() == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyError("mine"), Unavailable("mine")])
async def test_an_error_rolls_back(pool, rows, error):
    """An error of the work's own takes its statements back, is what the caller gets, and costs no connection."""
    database = await pool(1)

    async def work(transaction):
        await transaction.query("INSERT INTO t VALUES (1)")
        raise error

    with pytest.raises(type(error)) as raised:
        await database.transaction(work)
    assert raised.value is error
    assert rows() == []
    assert (database.busy, database.idle) == (0, 1)


@pytest.mark.parametrize(
    "sql, error",
    [
        ("INSERT INTO t VALUES (1)", psycopg2.errors.UniqueViolation),
        ("INSERT INTO images (repo_id, name) VALUES (1, 'x')", psycopg2.errors.ForeignKeyViolation),
        ("SELEKT", psycopg2.ProgrammingError),
        ("SELECT 1/0", psycopg2.DataError),
    ],
)
async def test_errors_of_a_statement(pool, rows, onlooker, sql, error):
    """What is the program's own fault is raised as it is; the connection is as good as before."""
    database = await pool(1)
    await database.query("INSERT INTO t VALUES (1)")
    before = onlooker.backends()
    with pytest.raises(error):
        await database.query(sql)
    with pytest.raises(error):
        await database.transaction(lambda transaction: transaction.query(sql))
    assert await database.one("SELECT 1") == (1,)
    assert onlooker.backends() == before


async def test_statement_timeout(pool, onlooker):
    """A statement beyond its time is Unavailable, not a cancellation that would look like a client that hung up."""
    database = await pool(1)
    before = onlooker.backends()

    async def work(transaction):
        await transaction.query("SET LOCAL statement_timeout = 20")
        await transaction.query(SLOW)

    with pytest.raises(Unavailable) as error:
        await database.transaction(work)
    assert (error.value.status, error.value.headers) == (503, {"Retry-After": "1"})
    await database.query("SET statement_timeout = 20")
    with pytest.raises(Unavailable):
        await database.query(SLOW)
    assert onlooker.backends() == before, "the connection itself is whole"


async def test_lock_timeout(pool, rows):
    """A row that another one holds too long is Unavailable."""
    database = await pool(2)
    await database.query("INSERT INTO t VALUES (1)")

    async def impatient(transaction):
        await transaction.query("SET LOCAL lock_timeout = 20")
        await transaction.query("DELETE FROM t")

    async def holder(transaction):
        await transaction.query("SELECT FROM t FOR UPDATE")
        with pytest.raises(Unavailable):
            await database.transaction(impatient)

    await database.transaction(holder)
    assert rows() == [1]


def crossing(first: int, second: int, held: list[int], met: Deferred[None]):
    """A transaction that takes two rows one after the other, once another one holds a row as well."""

    async def work(transaction):
        await transaction.query("SET LOCAL deadlock_timeout = 20")
        await transaction.query("UPDATE t SET n = n WHERE n = %s", (first,))
        held.append(first)
        if len(held) == 2:
            met.callback(None)
        await met
        await transaction.query("UPDATE t SET n = n WHERE n = %s", (second,))
        await transaction.query("INSERT INTO t VALUES (%s)", (first * 10,))

    return work


async def test_deadlocks_are_retried(pool, rows):
    """The transaction that loses a deadlock is run again: both are committed, each once."""
    database, held, met = await pool(2), [], Deferred()
    await database.query("INSERT INTO t VALUES (1), (2)")
    work = (crossing(1, 2, held, met), crossing(2, 1, held, met))
    done = DeferredList([Deferred.fromCoroutine(database.transaction(w)) for w in work], consumeErrors=True)
    assert [succeeded for succeeded, _ in await done] == [True, True], done.result
    assert len(held) == 3
    assert rows() == [1, 2, 10, 20]


@pytest.mark.parametrize("code", ["40P01", "40001"])
@pytest.mark.parametrize("call", ["query", "transaction"])
async def test_races_without_end(pool, onlooker, code, call):
    """A call that loses every race is given up after some tries as Unavailable, whichever kind it is."""
    database = await pool(1)
    onlooker.rows("CREATE SEQUENCE tries")
    sql = f"DO $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'lost' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(Unavailable):
        await (database.query(sql) if call == "query" else database.transaction(lambda t: t.query(sql)))
    assert onlooker.value("SELECT last_value FROM tries") == module.RETRIES
    assert (database.busy, database.idle) == (0, 1)


async def test_a_statement_that_loses_a_race_is_repeated(pool, onlooker):
    """A single statement is a transaction too: it is tried again, and what it did is done once."""
    database = await pool(1)
    onlooker.rows("CREATE SEQUENCE tries")
    sql = """DO $$ BEGIN
        IF nextval('tries') < 3 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END IF;
        INSERT INTO repos (name, package_type, repo_type) VALUES ('x', 'docker', 'local');
    END $$"""
    await database.query(sql)
    assert onlooker.value("SELECT count(*) FROM repos") == 1


async def test_no_connection_in_time(pool, monkeypatch):
    """A caller for whom no connection becomes free in time is told 503; the ones who hold them are left alone."""
    database = await pool(1)
    holder = Deferred.fromCoroutine(database.one("SELECT 'held' FROM pg_sleep(0.5)"))
    monkeypatch.setattr(module, "ACQUIRE_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="no database connection became free") as error:
        await database.query("SELECT 1")
    assert (error.value.status, error.value.headers) == (503, {"Retry-After": "1"})
    assert await holder == ("held",)
    assert await database.one("SELECT 1") == (1,)


async def test_a_caller_that_gives_up_waiting(pool):
    """A caller that is cancelled while it waits is forgotten: the free connection goes to the next."""
    database = await pool(1)
    holder = Deferred.fromCoroutine(database.one("SELECT 'held' FROM pg_sleep(0.1)"))
    gone = Deferred.fromCoroutine(database.one("SELECT 'gone'"))
    patient = Deferred.fromCoroutine(database.one("SELECT 'patient'"))
    gone.cancel()
    with pytest.raises(CancelledError):
        await gone
    assert await holder == ("held",)
    assert await patient == ("patient",)
    assert (database.busy, database.idle) == (0, 1)


async def test_a_caller_that_goes_away(pool, rows, onlooker):
    """A call whose caller is cancelled in the middle runs to its end, and its connection goes back as it was."""
    database = await pool(1)
    before = onlooker.backends()

    async def work(transaction):
        await transaction.query("SELECT pg_sleep(0.05)")
        await transaction.query("INSERT INTO t VALUES (2)")

    for call in (database.query("INSERT INTO t SELECT 1 FROM pg_sleep(0.05)"), database.transaction(work)):
        caller = Deferred.fromCoroutine(call)
        caller.cancel()
        with pytest.raises(CancelledError):
            await caller
        assert database.busy == 1
        assert await database.one("SELECT 'next'") == ("next",)
    assert rows() == [1, 2]
    assert onlooker.backends() == before


async def test_stop(pool, onlooker):
    """Calls under way and calls that wait fail at once when the pool stops, later ones too; no connection is left."""
    database = await pool(2)
    sql = "SELECT pg_sleep(1)"
    under_way = [database.query(sql), database.transaction(lambda transaction: transaction.query(sql))]
    calls = [Deferred.fromCoroutine(call) for call in (*under_way, database.query("SELECT 'waits'"))]
    assert database.busy == 2
    await database.stop()
    calls.append(Deferred.fromCoroutine(database.query("SELECT 'late'")))
    for call in calls:
        with pytest.raises(Unavailable):
            await call.addTimeout(5, reactor)
    await eventually(lambda: not onlooker.backends())
    assert (database.busy, database.idle) == (0, 0)


async def test_stuck_statements(pool, onlooker, monkeypatch):
    """A statement whose server does not even answer its timeout is Unavailable, and its connection is replaced."""
    clock = Late(reactor)
    database = await pool(1, clock=clock)
    [before] = onlooker.backends()
    stuck = Deferred.fromCoroutine(database.query(SLOW))
    database._retire_stuck()
    assert not stuck.called
    clock.late = module.STUCK_SECONDS + 1
    database._retire_stuck()
    with pytest.raises(Unavailable):
        await stuck.addTimeout(5, reactor)
    assert await in_time(database.one("SELECT pg_backend_pid() <> %s", (before,))) == (True,)


async def test_an_unlimited_transaction(pool, onlooker):
    """A transaction that may take as long as it likes outlasts every limit; the next one has them again."""
    clock = Late(reactor)
    database = await pool(1, clock=clock)
    onlooker.rows("SELECT pg_advisory_lock(1)")

    async def work(transaction):
        limits = await transaction.one("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        await transaction.query("SELECT pg_advisory_xact_lock(1)")
        return limits

    long = Deferred.fromCoroutine(database.transaction(work, unlimited=True))
    await eventually(lambda: onlooker.waiting() == 1)
    clock.late = 10 * module.STUCK_SECONDS
    database._retire_stuck()
    onlooker.rows("SELECT pg_advisory_unlock(1)")
    assert await long.addTimeout(5, reactor) == ("0", "0")
    assert await database.one("SHOW lock_timeout") == ("5s",)


class Late:
    """The reactor, whose clock has gone on."""

    late = 0.0

    def __init__(self, real) -> None:
        self._real = real

    def seconds(self) -> float:
        """The time, and more."""
        return self._real.seconds() + self.late

    def __getattr__(self, name: str):
        return getattr(self._real, name)


async def test_stop_while_it_opens(dsn, onlooker):
    """A pool that is stopped before all its connections are there opens no more."""
    database = Database(dsn, 8, reactor)
    await database.start()
    await database.stop()
    await eventually(lambda: not onlooker.backends())
    assert (database.busy, database.idle) == (0, 0)
