"""The one deferToThread of the project: small named pools, and calls that run to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from artifactapi.shield import shield

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of its own for one kind of blocking work.

    The reactor's pool has ten threads and answers DNS with them: hashing or storage there would stall both.
    """

    def __init__(self, name: str, size: int, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name=name)

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Wait for the calls that run, then end the threads."""
        if self._pool.started:
            self._pool.stop()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function(*args, **kwargs)` in a thread of this pool; it is not stopped by a cancellation."""
        return await shield(deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs))
