"""Rows by key, asked for together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from artifactapi.metadata.database import Queryable
from artifactapi.shield import detached

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Find = Callable[[Queryable, Sequence[K]], Awaitable[Mapping[K, V]]]

MOST = 64
"""Keys of one statement."""
AT_ONCE = 2
"""Statements under way; one that is slow does not hold up all others."""


class Lookups(Generic[K, V]):
    """One statement for all keys that are asked for while others run.

    A statement costs ten times what a row of it does: an idle registry answers at once, a busy one asks for many rows
    at a time. Every answer is of a statement that began after the question; nothing is remembered.
    """

    def __init__(self, database: Queryable, find: Find[K, V]) -> None:
        self._database = database
        self._find = find
        self._waiting: dict[K, list[Deferred[V | None]]] = {}
        self._running = 0

    async def get(self, key: K) -> V | None:
        """The row of that key. Raises what the database does."""
        waiter: Deferred[V | None] = Deferred()
        self._waiting.setdefault(key, []).append(waiter)
        if self._running < AT_ONCE:
            self._running += 1
            detached(self._run())
        return await waiter

    async def _run(self) -> None:
        while self._waiting:
            asked = {key: self._waiting.pop(key) for key in list(self._waiting)[:MOST]}
            try:
                found = await self._find(self._database, list(asked))
            except Exception as error:
                for waiter in (w for waiters in asked.values() for w in waiters):
                    waiter.errback(error)
            else:
                for key, waiters in asked.items():
                    for waiter in waiters:
                        waiter.callback(found.get(key))
        self._running -= 1
