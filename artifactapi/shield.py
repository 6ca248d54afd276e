"""Work that must run to its end, although nobody waits for it any more, or what runs beside it failed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
log = Logger()


def shield(inner: Deferred[T]) -> Deferred[T]:
    """A Deferred with `inner`'s result, whose cancellation lets `inner` go on.

    Klein cancels a handler when its client hangs up; a write half done, a thread, or a query whose connection
    goes back to the pool must not see that. A failure after the cancellation is logged: nobody else would.
    """
    abandoned = False

    def give_up(_: Deferred[T]) -> None:
        nonlocal abandoned
        abandoned = True

    outer: Deferred[T] = Deferred(give_up)

    def fail(failure: Failure) -> None:
        if abandoned:
            log.failure("failed after its caller had gone", failure)
        else:
            outer.errback(failure)

    inner.addCallbacks(lambda result: None if abandoned else outer.callback(result), fail)
    return outer


def detached(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Start `work` now; cancelling what is returned does not stop it."""
    return shield(Deferred.fromCoroutine(work))


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Their results; run at the same time, each to its end. Raises what one of them raised."""
    results: list[T] = []
    for _, result in await DeferredList([Deferred.fromCoroutine(one) for one in work], consumeErrors=True):
        if isinstance(result, Failure):
            result.raiseException()
        results.append(result)
    return results


class Shared(Generic[K, T]):
    """Work that is under way once for each key, however many want its result."""

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[T]]] = {}

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, or of the same that is under way already. Raises what it raises."""
        waiter: Deferred[T] = Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(waiter)
        if len(waiting) == 1:
            detached(self._run(key, work()))
        return await waiter

    async def _run(self, key: K, work: Coroutine[Any, Any, T]) -> None:
        try:
            result = await work
        except Exception as error:
            for waiter in self._waiting.pop(key):
                waiter.errback(error)
        else:
            for waiter in self._waiting.pop(key):
                waiter.callback(result)
