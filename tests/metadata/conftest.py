"""Pools, and a second look at the database that shares nothing with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from artifactapi.metadata.database import Database

PATIENCE = 30  # seconds, for what takes well below one


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait while the reactor runs; fail if the condition does not come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.01)


def in_time(work: Any) -> Deferred[Any]:
    """The result of a coroutine that must not hang."""
    return Deferred.fromCoroutine(work).addTimeout(PATIENCE, reactor)


class Onlooker:
    """A connection of psycopg2's own, to see and to do what the pool does not know of."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""
        cursor = self._connection.cursor()
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *params: Any) -> Any:
        """The one value of a statement."""
        [[value]] = self.rows(sql, *params)
        return value

    def backends(self) -> set[int]:
        """The pids of the pool's connections."""
        return {pid for (pid,) in self.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'artifactapi'"
        )}  # fmt: skip

    def waiting(self) -> int:
        """How many of them wait for a lock."""
        return self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    def kill(self, pids: set[int]) -> None:
        """End them, as an administrator or a failover would."""
        self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", list(pids))

    def close(self) -> None:
        """Done."""
        self._connection.close()


@pytest.fixture
def onlooker(dsn: str):
    """An onlooker of the test's database."""
    made = Onlooker(dsn)
    yield made
    made.close()


@pytest_twisted.async_yield_fixture
async def pool(dsn: str, onlooker: Onlooker):
    """Make pools of a given size with all their connections open; they are stopped at the end."""
    made: list[Database] = []

    async def make(size: int = 2, at: str = dsn, clock: Any = reactor) -> Database:
        database = Database(at, size, clock)
        made.append(database)
        await database.start()
        await eventually(lambda: database.idle == size)
        return database

    yield make
    for database in made:
        await database.stop()
