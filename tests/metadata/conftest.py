"""Pools of a given size, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from artifactapi.metadata.database import Database
from tests.onlooker import Onlooker

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
