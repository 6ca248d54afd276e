"""The body of a request by itself: when its socket is held, let go, and what counts as waiting."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from artifactapi.api.body import HIGH, HIGH_IN_ALL, Body, Waiting
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
