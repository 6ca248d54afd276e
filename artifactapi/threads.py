"""The one deferToThread of the project: small named pools, and calls that run to their end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from artifactapi.shield import shield

P = ParamSpec("P")
T = TypeVar("T")

STOP_SECONDS = 10.0


class Threads:
    """A pool of its own for one kind of blocking work.

    The reactor's pool has ten threads and answers DNS with them: hashing or storage there would stall both.
    """

    def __init__(self, name: str, size: int, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name=name)
        # A call that hangs (a server that does not answer) must not keep the process from ending.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    def start(self) -> None:
        self._pool.start()

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Wait up to `seconds` for the calls that run, then let the threads end with the process."""
        if not self._pool.started:
            return
        ended: Deferred[None] = Deferred()
        too_late = self._reactor.callLater(seconds, ended.callback, None)

        def end() -> None:
            if too_late.active():
                too_late.cancel()
                ended.callback(None)

        def wait() -> None:
            self._pool.stop()
            self._reactor.callFromThread(end)

        Thread(target=wait, daemon=True).start()
        await ended

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function(*args, **kwargs)` in a thread of this pool; it is not stopped by a cancellation."""
        return await shield(deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs))
