"""Threads of our own, and work that outlives its caller."""

from __future__ import annotations

import threading

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, succeed
from twisted.logger import globalLogPublisher

from artifactapi.shield import detached, shield
from artifactapi.threads import Threads


@pytest.fixture
def logged():
    """What was logged during the test."""
    events: list[dict] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


async def test_run(threads):
    """A call runs in a thread of the pool, with its arguments; its result and its errors come back."""
    name = await threads.run(lambda *args, **kwargs: (threading.current_thread().name, args, kwargs), 1, 2, key="x")
    assert name[0].startswith("PoolThread-test")
    assert name[1:] == ((1, 2), {"key": "x"})
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)


async def test_no_more_than_its_size():
    """So many calls run at a time as the pool has threads; the others wait, and all are done."""
    pool, barrier = Threads("narrow", 2, reactor), threading.Barrier(2)
    pool.start()
    try:
        calls = [Deferred.fromCoroutine(pool.run(barrier.wait, 10)) for _ in range(6)]
        assert sorted(n for _, n in await DeferredList(calls)) == [0, 0, 0, 1, 1, 1]
    finally:
        await pool.stop()


async def test_a_cancelled_call_goes_on(threads):
    """A thread is not stopped when its caller is: what it does is done to its end."""
    go, done = threading.Event(), Deferred()

    def work():
        go.wait(10)
        reactor.callFromThread(done.callback, "done")

    call = Deferred.fromCoroutine(threads.run(work))
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    go.set()
    assert await done == "done"


async def test_stop_waits():
    """A pool that stops waits for the calls that run; stopping it twice, or before its start, does nothing."""
    pool, ran = Threads("stopping", 1, reactor), []
    await pool.stop()
    pool.start()
    begun, go = threading.Event(), threading.Event()
    pool._pool.callInThread(lambda: (begun.set(), go.wait(10), ran.append(True)))
    assert begun.wait(10)
    threading.Timer(0.05, go.set).start()
    await pool.stop()
    assert ran == [True]
    await pool.stop()


async def test_stop_does_not_wait_for_ever():
    """A call that hangs keeps neither the stop nor the end of the process waiting."""
    pool, go = Threads("hanging", 1, reactor), threading.Event()
    pool.start()
    hanging = Deferred.fromCoroutine(pool.run(go.wait, 60))
    await pool.stop(0.1)
    assert not hanging.called
    assert all(thread.daemon for thread in pool._pool.threads)
    go.set()
    assert await hanging


async def test_shield_passes_on():
    """What is shielded has the result, or the error, of what is inside."""
    assert await shield(succeed(5)) == 5
    with pytest.raises(KeyError):
        await shield(fail(KeyError("x")))


async def test_shield_keeps_a_cancellation_out(logged):
    """A cancellation ends the waiting, not the work; its late result is dropped without a word."""
    cancelled = []
    inner: Deferred[int] = Deferred(cancelled.append)
    outer = shield(inner)
    outer.cancel()
    with pytest.raises(CancelledError):
        await outer
    inner.callback(5)
    assert cancelled == []
    assert logged == []


async def test_a_late_error_is_logged(logged):
    """An error of work whose caller has gone is logged, since nobody else would see it."""
    inner: Deferred[int] = Deferred()
    outer = shield(inner)
    outer.addErrback(lambda failure: None)
    outer.cancel()
    inner.errback(KeyError("late"))
    [event] = [e for e in logged if e.get("log_failure")]
    assert event["log_failure"].check(KeyError)


async def test_detached(logged):
    """A coroutine begins at once, and goes on to its end although its caller gives up."""
    steps, gate = [], Deferred()

    async def work():
        steps.append("began")
        await gate
        steps.append("ended")
        return 5

    waiting = detached(work())
    assert steps == ["began"]
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    gate.callback(None)
    assert steps == ["began", "ended"]
    assert await detached(coroutine(7)) == 7
    assert logged == []


async def coroutine(value: int) -> int:
    """It has nothing to wait for."""
    return value
