"""Work that runs to its end."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from artifactapi.shield import Shared, together


def begin(work) -> Deferred:
    """Start it."""
    return Deferred.fromCoroutine(work)


class Fault(Exception):
    """Of these tests."""


async def test_together():
    """The results come in order, whatever ends first."""
    first, second = Deferred(), Deferred()

    async def of(deferred):
        return await deferred

    both = begin(together(of(first), of(second)))
    second.callback(2)
    first.callback(1)
    assert await both == [1, 2]


async def test_together_with_a_failure():
    """What one raises is raised when the others have ended."""
    slow, ended = Deferred(), []

    async def fail():
        raise Fault

    async def run():
        await slow
        ended.append("slow")

    both = begin(together(fail(), run()))
    assert not both.called
    slow.callback(None)
    with pytest.raises(Fault):
        await both
    assert ended == ["slow"]


class Calls:
    """Work that waits until it is told to end."""

    def __init__(self) -> None:
        self.running: list[Deferred] = []

    async def work(self):
        self.running.append(Deferred())
        return await self.running[-1]


async def test_shared():
    """Of several for one key one is under way, and all get its result; the next one is another."""
    calls, shared = Calls(), Shared()
    waiting = [begin(shared.run("a", calls.work)) for _ in range(3)]
    assert len(calls.running) == 1
    calls.running[0].callback("result")
    assert [await waiter for waiter in waiting] == ["result"] * 3
    another = begin(shared.run("a", calls.work))
    calls.running[1].callback("other")
    assert await another == "other"


async def test_shared_keys():
    """Those of different keys do not wait for each other."""
    calls, shared = Calls(), Shared()
    a, b = begin(shared.run("a", calls.work)), begin(shared.run("b", calls.work))
    calls.running[1].callback("of b")
    assert await b == "of b"
    assert not a.called
    calls.running[0].callback("of a")
    assert await a == "of a"


async def test_shared_failure():
    """All are told what went wrong, and the next one tries again."""
    calls, shared = Calls(), Shared()
    waiting = [begin(shared.run("a", calls.work)) for _ in range(2)]
    calls.running[0].errback(Fault())
    for waiter in waiting:
        with pytest.raises(Fault):
            await waiter
    again = begin(shared.run("a", calls.work))
    calls.running[1].callback("good")
    assert await again == "good"


async def test_one_that_goes():
    """Whoever began may go; the others get the result all the same."""
    calls, shared = Calls(), Shared()
    first, second = begin(shared.run("a", calls.work)), begin(shared.run("a", calls.work))
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    calls.running[0].callback("result")
    assert await second == "result"
