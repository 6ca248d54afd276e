"""The connection pool: the only importer of txpostgres and psycopg2."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Protocol, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extras import Json
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from txpostgres import txpostgres

from artifactapi.oci.errors import Refused, StoreFull, Unavailable
from artifactapi.shield import detached, shield

__all__ = ["Database", "Json", "Queryable", "Row", "Transaction"]

Row = tuple[Any, ...]
Params = Sequence[Any] | Mapping[str, Any]
T = TypeVar("T")
log = Logger()

OPTIONS = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000 -c TimeZone=UTC"
NO_LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
ACQUIRE_SECONDS = 5.0  # how long a call waits for a free connection before it is told 503
STUCK_SECONDS = 40.0  # beyond statement_timeout: the server does not even answer that
CONNECT_SECONDS = 10.0
QUOTES_ADDRESS = re.compile(r'connection option|port number|sslmode value|"[^"]*@[^"]*"')  # and so, perhaps, a password
MISREAD = "its address cannot be understood; is everything special in the password percent-encoded?"
# libpq gives a failed connection no SQLSTATE: 28P01, 28000, 3D000, 42501, and what poolers say.
FINAL = re.compile(
    'authentication failed|no password supplied|(role|database) ".*" does not exist|no pg_hba.conf entry|'
    "not permitted to log in|permission denied for database|no such (user|database)"
)
RETRIES = 4  # of a transaction that lost a deadlock or a serialisation race


class Queryable(Protocol):
    """What the modules of this package need: the pool itself, or a transaction on one of its connections."""

    async def query(self, sql: str, params: Params = ()) -> list[Row]: ...

    async def one(self, sql: str, params: Params = ()) -> Row | None: ...


def is_dead(error: BaseException) -> bool:
    """Whether the connection that raised `error` is of no more use: judged by its SQLSTATE."""
    if isinstance(error, psycopg2.InterfaceError | ConnectionClosed):
        return True
    if not isinstance(error, psycopg2.Error):
        return not isinstance(error, Exception)
    if error.pgcode is None:  # libpq's own: the link broke. ProgrammingError and the like have no code either
        return type(error) in (psycopg2.OperationalError, psycopg2.DatabaseError)
    return error.pgcode.startswith("08") or error.pgcode in ("57P01", "57P02", "57P03", "57P05", "25P03")


def translate(error: Exception) -> Exception:
    """The error a client is told for a failed statement: 503 or 507 for what may pass, itself for a bug."""
    code = getattr(error, "pgcode", None) or ""
    if code.startswith("53100"):
        return StoreFull("the database's disk is full")
    if is_dead(error) or code[:2] in ("40", "53", "57", "58") or code in ("55P03", "25006"):
        return Unavailable("the database does not answer at the moment", headers={"Retry-After": "1"})
    return error


class _Cursor(txpostgres.Cursor):  # type: ignore[misc]
    def _handleCancellation(self, failure: Any) -> Any:
        # txpostgres turns a statement_timeout into CancelledError, which would look like a client that hung up.
        return failure


class _Connection(txpostgres.Connection):  # type: ignore[misc]
    """One connection that tells its pool when the server closed it while nobody was asking anything."""

    cursorFactory = _Cursor

    def __init__(self, reactor: Any, lost: Callable[[_Connection], None]) -> None:
        super().__init__(reactor)
        self._lost: Callable[[_Connection], None] | None = lost

    def doRead(self) -> None:
        with self._retired_if_lost():
            super().doRead()

    def cursorFinished(self, cursor: Any) -> None:
        with self._retired_if_lost():
            super().cursorFinished(cursor)

    @contextmanager
    def _retired_if_lost(self) -> Iterator[None]:
        try:
            yield
        except (psycopg2.Error, ValueError):  # the latter: libpq has closed the socket, and psycopg2 does not know
            self.retire()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.retire()

    def retire(self) -> None:
        """Close, and be replaced in the pool; once."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self)  # first: closing ends the statement under way, and with it the pool's memory of this
            if self.pollable() is not None:  # else it failed before it began
                self.close()


class Transaction:
    """Statements of one transaction, one after the other."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.committed: list[Callable[[], None]] = []  # called when it has been

    async def query(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of a statement; [] for one that returns none."""
        await self._cursor.execute(sql, params)
        return self._cursor.fetchall() if self._cursor.description else []

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        return next(iter(await self.query(sql, params)), None)


class Database:
    """A pool of `size` connections to `dsn` that mends itself.

    A connection that dies is replaced in the background, again and again. Calls wait up to ACQUIRE_SECONDS for a
    free one, then fail with `Unavailable`. Every call runs to its end although its caller may be cancelled:
    PQcancel would block the reactor, and a connection in mid-query cannot be given to the next caller.
    """

    def __init__(self, dsn: str, size: int, reactor: Any) -> None:
        self._dsn = dsn
        self._reactor = reactor
        self.size = size
        self._idle: deque[_Connection] = deque()
        self._busy: dict[_Connection, float] = {}
        self._waiting: deque[Deferred[_Connection]] = deque()
        self._connecting: set[_Connection] = set()
        self._running = False
        self._watch = LoopingCall(self._retire_stuck)
        self._watch.clock = reactor

    @property
    def busy(self) -> int:
        """Connections in use."""
        return len(self._busy)

    @property
    def idle(self) -> int:
        """Connections free."""
        return len(self._idle)

    async def start(self) -> None:
        """Open the pool. Raises `Unavailable`, or `Refused`, with psycopg2's reason if the first connection fails."""
        self._running = True
        try:
            self._release(await self._connect())
        except psycopg2.Error as error:
            self._running = False
            raise _refusal(error) from None
        for _ in range(self.size - 1):
            detached(self._replace())
        self._watch.start(5.0, now=False)

    async def stop(self) -> None:
        """Close every connection; calls under way fail."""
        self._running = False
        if self._watch.running:
            self._watch.stop()
        for connection in (*self._idle, *self._busy, *self._connecting):
            connection.retire()
        while self._waiting:
            self._waiting.popleft().errback(Unavailable("the registry is stopping"))

    async def query(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of one statement in a transaction of its own; [] for one that returns none."""
        return await self._repeated(lambda connection: _execute(connection, sql, params))

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        return next(iter(await self.query(sql, params)), None)

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], unlimited: bool = False) -> T:
        """Run `work` in one transaction and commit; rolled back if it raises. Repeated when it loses a deadlock,
        so `work` may do nothing but SQL. An `unlimited` one may take as long as it likes, or as others hold a lock."""
        return await self._repeated(lambda connection: _in_transaction(connection, work, unlimited), unlimited)

    async def _repeated(self, call: Callable[[_Connection], Awaitable[T]], unlimited: bool = False) -> T:
        """A deadlock or a race that was lost has left nothing behind: try again."""
        for attempt in range(RETRIES):
            connection = await self._acquire()
            if unlimited:
                self._busy[connection] = inf
            try:
                return await detached(self._run(connection, call))
            except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                if attempt == RETRIES - 1:
                    raise translate(error) from error
        raise AssertionError("unreachable")

    async def _run(self, connection: _Connection, call: Callable[[_Connection], Awaitable[T]]) -> T:
        try:
            return await call(connection)
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (psycopg2.Error, ConnectionClosed) as error:
            if is_dead(error):
                connection.retire()
            translated = translate(error)
            if translated is error:
                raise
            log.warn("statement failed: {error}", error=" ".join(str(error).split()))
            raise translated from error
        finally:
            self._release(connection)

    async def _acquire(self) -> _Connection:
        if not self._running:
            raise Unavailable("the database is not connected", headers={"Retry-After": "1"})
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = await self._wait()
        self._busy[connection] = self._reactor.seconds()
        return connection

    async def _wait(self) -> _Connection:
        waiter: Deferred[_Connection] = Deferred(self._forget)
        self._waiting.append(waiter)
        too_late = self._reactor.callLater(ACQUIRE_SECONDS, self._refuse, waiter)
        try:
            return await waiter
        finally:
            if too_late.active():
                too_late.cancel()

    def _forget(self, waiter: Deferred[_Connection]) -> None:
        self._waiting.remove(waiter)

    def _refuse(self, waiter: Deferred[_Connection]) -> None:
        self._forget(waiter)
        waiter.errback(Unavailable("no database connection became free in time", headers={"Retry-After": "1"}))

    def _release(self, connection: _Connection) -> None:
        if connection.closed:
            connection.retire()  # while it still counts as one of the pool's
        self._busy.pop(connection, None)
        if connection.closed or connection in self._idle:
            return
        if self._waiting:
            self._waiting.popleft().callback(connection)
        else:
            self._idle.append(connection)

    def _on_lost(self, connection: _Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        elif connection not in self._busy:
            return  # it never was in the pool: whoever opens it tries again
        if self._running:
            log.warn("a database connection was lost; connecting again")
            detached(self._replace())

    async def _replace(self) -> None:
        delay = 0.05
        while self._running:
            try:
                self._release(await self._connect())
            except psycopg2.Error:
                await deferLater(self._reactor, delay)
                delay = min(delay * 2, 1.0)
            else:
                return

    async def _connect(self) -> _Connection:
        connection = _Connection(self._reactor, self._on_lost)
        self._connecting.add(connection)
        too_late = self._reactor.callLater(CONNECT_SECONDS, connection.retire)
        try:
            await shield(connection.connect(self._dsn, options=OPTIONS, application_name="artifactapi", **KEEPALIVES))
        except BaseException as error:
            connection.retire()
            if isinstance(error, psycopg2.Error):
                raise
            raise psycopg2.OperationalError(f"connection timed out or was closed: {error}") from error
        finally:
            self._connecting.discard(connection)
            if too_late.active():
                too_late.cancel()
        if connection.closed:
            raise psycopg2.OperationalError("connection was closed as soon as it was open")
        return connection

    def _retire_stuck(self) -> None:
        oldest = self._reactor.seconds() - STUCK_SECONDS
        for connection in [c for c, since in self._busy.items() if since < oldest]:
            log.error("a statement ran past its timeout; its connection is dropped")
            connection.retire()


def _refusal(error: psycopg2.Error) -> Unavailable:
    text = " ".join(str(error).split())
    if isinstance(error, psycopg2.ProgrammingError) or QUOTES_ADDRESS.search(text):
        return Refused(f"cannot connect to the database: {MISREAD}")
    return (Refused if FINAL.search(text) else Unavailable)(f"cannot connect to the database: {text}")


def _execute(connection: _Connection, sql: str, params: Params) -> Any:
    # Past the connection's own lock: the pool gives a connection to one caller at a time.
    cursor = connection.cursor()
    done = cursor.execute(sql, params)
    return done.addCallback(lambda _: cursor.fetchall() if cursor.description else [])


async def _in_transaction(connection: _Connection, work: Callable[[Transaction], Awaitable[T]], unlimited: bool) -> T:
    # Not txpostgres' runInteraction: it logs a traceback for a link that breaks, and does not await a coroutine.
    cursor = connection.cursor()
    await cursor.execute(f"BEGIN; {NO_LIMITS}" if unlimited else "BEGIN")
    try:
        transaction = Transaction(cursor)
        result = await work(transaction)
        await cursor.execute("COMMIT")
    except Exception:
        await _roll_back(connection, cursor)
        raise
    for call in transaction.committed:
        call()
    return result


async def _roll_back(connection: _Connection, cursor: Any) -> None:
    """A connection that cannot be rolled back is of no more use: its transaction is still open, or it is dead."""
    try:
        await cursor.execute("ROLLBACK")
    except (psycopg2.Error, ConnectionClosed):
        connection.retire()
