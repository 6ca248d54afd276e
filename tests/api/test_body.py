"""The body of a request by itself: when its socket is held, let go, and what counts as waiting."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from artifactapi.api.body import HIGH, HIGH_IN_ALL, WINDOW_SECONDS, Body, TooSlow, Waiting
from artifactapi.oci.errors import BodyTooLarge
from artifactapi.registry.intake import ClientGone

MANY = HIGH_IN_ALL // HIGH


class Socket:
    """Whether the reactor would read from it; a real one cannot be asked."""

    reading = True

    def pauseProducing(self) -> None:
        """As a transport's."""
        self.reading = False

    def resumeProducing(self) -> None:
        """As a transport's."""
        self.reading = True


@pytest.fixture
def waiting() -> Waiting:
    """Nothing waits."""
    return Waiting()


@pytest.fixture
def socket() -> Socket:
    """A socket that is read."""
    return Socket()


@pytest.fixture
def body(socket: Socket, waiting: Waiting) -> Body:
    """A body of unknown length."""
    return Body(socket, None, waiting)


async def test_a_reader_gets_what_came(body: Body, waiting: Waiting):
    """All pieces since the last call, in order; [] at the end, as often as it is asked for."""
    body.feed(b"a")
    body.feed(b"b")
    assert waiting.total == 2
    assert await body.read() == [b"a", b"b"]
    later = Deferred.fromCoroutine(body.read())
    assert not later.called
    body.feed(b"c")
    body.finish()
    assert await later == [b"c"]
    assert (await body.read(), await body.read()) == ([], [])
    assert waiting.total == 0


async def test_what_came_before_the_end_of_the_connection_is_given(body: Body):
    """ClientGone only after all that came; a reader that waits is told at once."""
    body.feed(b"a")
    body.lose()
    assert await body.read() == [b"a"]
    with pytest.raises(ClientGone):
        await body.read()


async def test_a_reader_that_waits_is_told(body: Body):
    """The connection's end wakes it."""
    reading = Deferred.fromCoroutine(body.read())
    body.lose()
    with pytest.raises(ClientGone):
        await reading


async def test_a_body_whose_reader_is_behind(body: Body, socket: Socket):
    """Its socket is held from HIGH on, and let go by the next read."""
    body.feed(b"x" * (HIGH - 1))
    assert socket.reading
    body.feed(b"x")
    assert (socket.reading, body.paused) == (False, True)
    await body.read()
    assert (socket.reading, body.paused) == (True, False)


async def test_many_bodies_whose_readers_are_behind(waiting: Waiting):
    """From HIGH_IN_ALL on every body is held with whatever it has, and goes on as soon as it is read."""
    for _ in range(MANY):
        Body(Socket(), None, waiting).feed(b"x" * HIGH)
    socket = Socket()
    late = Body(socket, None, waiting)
    late.feed(b"x")
    assert not socket.reading
    assert await late.read() == [b"x"]
    assert socket.reading
    assert waiting.total == HIGH_IN_ALL


def test_what_nobody_reads(body: Body, socket: Socket, waiting: Waiting):
    """A discarded body lets its socket go, waits for nobody and drops what comes later, but counts it."""
    body.feed(b"x" * HIGH)
    body.discard()
    body.feed(b"more")
    assert (socket.reading, waiting.total, body.received) == (True, 0, HIGH + 4)
    body.discard()
    assert waiting.total == 0


def test_a_lost_socket_is_left_alone(body: Body, socket: Socket):
    """The socket of a client that is gone is not read again."""
    body.feed(b"x" * HIGH)
    body.lose()
    body.discard()
    assert not socket.reading


async def test_a_reader_that_was_cancelled(body: Body):
    """What comes after a cancelled read is kept for the next one."""
    reading = Deferred.fromCoroutine(body.read())
    reading.addErrback(lambda _: None)
    reading.cancel()
    body.feed(b"a")
    assert await body.read() == [b"a"]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [3, 4])
async def test_the_limit_of_a_whole_body(socket: Socket, waiting: Waiting, announced: bool, size: int):
    """Up to the limit it is given, above it refused; before a byte is read, if its length was announced."""
    body = Body(socket, size if announced else None, waiting)
    if size == 3 or not announced:
        body.feed(b"ab")
        body.feed(b"c" * (size - 2))
        body.finish()
    if size == 3:
        assert await body.read_all(3, BodyTooLarge("too large")) == b"abc"
    else:
        with pytest.raises(BodyTooLarge):
            await body.read_all(3, BodyTooLarge("too large"))


# The rate


def verdicts(body: Body, seconds: int, rate: int = 2) -> list[bool]:
    """What is said after each of so many seconds."""
    return [body.is_slow(rate) for _ in range(seconds)]


FAST, SLOW = [False] * WINDOW_SECONDS, [False] * (WINDOW_SECONDS - 1) + [True]


@pytest.mark.parametrize("size, said", [(2 * WINDOW_SECONDS, FAST), (2 * WINDOW_SECONDS - 1, SLOW), (0, SLOW)])
def test_the_rate_is_judged_at_the_end_of_a_window(body: Body, size: int, said: list[bool]):
    """By what came in that window alone: what came before is no credit."""
    body.feed(b"x" * 100_000)
    assert verdicts(body, WINDOW_SECONDS) == FAST
    body.feed(b"x" * size)
    assert verdicts(body, WINDOW_SECONDS) == said


async def test_a_held_socket_does_not_count(body: Body):
    """Neither a second in which it was held all the time, nor one in which it was held at all."""
    assert verdicts(body, WINDOW_SECONDS - 1) == FAST[1:]
    body.feed(b"x" * HIGH)
    assert verdicts(body, 1000, HIGH) == [False] * 1000
    await body.read()
    assert verdicts(body, 1, HIGH) == [False]
    body.feed(b"x" * HIGH)
    await body.read()
    assert verdicts(body, 2, HIGH) == [False, True]


@pytest.mark.parametrize("end", [Body.finish, Body.discard])
def test_a_body_that_is_not_awaited_has_no_rate(body: Body, end):
    """One that is complete, or that nobody reads."""
    end(body)
    assert not any(verdicts(body, 10 * WINDOW_SECONDS))


async def test_a_body_that_is_given_up(body: Body):
    """What came is given first; then, and to a reader that waits, it is a client that is gone, and is told why."""
    body.feed(b"a")
    body.give_up()
    assert await body.read() == [b"a"]
    with pytest.raises(TooSlow) as slow:
        await body.read()
    assert isinstance(slow.value, ClientGone)
    assert slow.value.status == 408


async def test_a_reader_of_a_body_that_is_given_up(body: Body):
    """It is told at once."""
    reading = Deferred.fromCoroutine(body.read())
    body.give_up()
    with pytest.raises(TooSlow):
        await reading


@pytest.mark.parametrize("first, second", [(Body.lose, Body.give_up), (Body.give_up, Body.lose)])
async def test_a_body_that_is_given_up_and_lost(body: Body, first, second):
    """Nobody is there to be told."""
    first(body)
    second(body)
    with pytest.raises(ClientGone) as gone:
        await body.read()
    assert not isinstance(gone.value, TooSlow)


async def test_a_body_that_ends_after_all(body: Body):
    """One that was given up, and is complete before its reader noticed, is whole."""
    body.give_up()
    body.feed(b"a")
    body.finish()
    assert (await body.read(), await body.read()) == ([b"a"], [])
