"""A blob on its way into the store, and those who read it meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from artifactapi.objects.interface import IObjectReader
from artifactapi.registry import fill as module
from artifactapi.registry.fill import Buffered, Fill

CONTENT = bytes(range(250)) * 4


class Fault(Exception):
    """Of these tests."""


class Stored:
    """What is in the store in the end."""

    rest = None

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.opened: list[tuple[int, int]] = []
        self.open_readers = 0

    async def open(self, start: int, length: int) -> Stored:
        self.opened.append((start, length))
        self.open_readers += 1
        self._rest = self.content[start : start + length]
        return self

    async def read(self) -> bytes:
        given, self._rest = self._rest[:100], self._rest[100:]
        return given

    def close(self) -> None:
        self.open_readers -= 1


def begin(work) -> Deferred:
    """Start it."""
    return Deferred.fromCoroutine(work)


async def rest(reader) -> bytes:
    """All that it gives from now on, and what gives what is left then."""
    pieces = []
    while data := await reader.read():
        pieces.append(data)
    return b"".join(pieces) + (await rest(reader.rest) if reader.rest else b"")


@pytest.fixture
def buffered() -> Buffered:
    return Buffered()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fill(buffered, clock) -> Fill:
    return Fill(len(CONTENT), buffered, clock)


def test_the_interface(fill):
    """A reader is one of those that the API can send."""
    assert verifyObject(IObjectReader, fill.reader(0, 1))


async def test_reading_along(fill, buffered):
    """Bytes are given as they come, the last ones when all is right."""
    reader = fill.reader(0, len(CONTENT))
    first = begin(reader.read())
    assert not first.called
    fill.feed([CONTENT[:10], CONTENT[10:20]])
    assert await first == CONTENT[:20]
    fill.feed([CONTENT[20:900], CONTENT[900:]])
    assert await reader.read() == CONTENT[20:900]
    last = begin(reader.read())
    assert not last.called
    stored = Stored(CONTENT)
    fill.complete(stored.open)
    assert await last == CONTENT[900:]
    assert await reader.read() == b""
    assert stored.opened == []
    reader.close()
    assert buffered.total == 0


async def test_a_failure(fill, buffered):
    """What came before it is given, the last bytes never; then it is told, and told to whoever comes later."""
    reader = fill.reader(0, len(CONTENT))
    fill.feed([CONTENT[:500], CONTENT[500:]])
    assert await reader.read() == CONTENT[:500]
    waiting = begin(reader.read())
    fill.fail(Fault())
    for read in (waiting, begin(reader.read()), begin(fill.reader(0, 10).read()), begin(fill.ended())):
        with pytest.raises(Fault):
            await read
    reader.close()
    assert buffered.total == 0


async def test_one_who_comes_late(fill):
    """Who comes when bytes have gone by reads all of it in the store, in the end."""
    fill.feed([CONTENT[:10]])
    reading = begin(rest(fill.reader(0, len(CONTENT))))
    fill.feed([CONTENT[10:]])
    assert not reading.called
    stored = Stored(CONTENT)
    fill.complete(stored.open)
    assert await reading == CONTENT
    assert stored.opened == [(0, len(CONTENT))]


async def test_one_who_is_slow(fill, buffered, monkeypatch):
    """Who does not keep up costs no memory beyond the window, and goes on in the store where it was."""
    monkeypatch.setattr(module, "WINDOW", 300)
    reader = fill.reader(0, len(CONTENT))
    fill.feed([CONTENT[:100]])
    assert await reader.read() == CONTENT[:100]
    for at in range(100, 1000, 100):
        fill.feed([CONTENT[at : at + 100]])
        assert buffered.total <= 300
    stored = Stored(CONTENT)
    fill.complete(stored.open)
    assert await rest(reader) == CONTENT[100:]
    assert stored.opened == [(100, 900)]
    reader.close()
    assert stored.open_readers == 0


async def test_all_of_them_together(fill, buffered, monkeypatch):
    """The readers of a process have a bound together."""
    monkeypatch.setattr(module, "IN_ALL", 250)
    readers = [fill.reader(0, len(CONTENT)) for _ in range(5)]
    fill.feed([CONTENT[:100]])
    assert buffered.total <= 300
    fill.feed([CONTENT[100:]])
    assert buffered.total == 0
    stored = [Stored(CONTENT) for _ in readers]
    fill.complete(lambda start, length: stored.pop().open(start, length))
    for reader in readers:
        assert await rest(reader) == CONTENT


@pytest.mark.parametrize("seconds, fed", [(0.1, 6), (1, module.FED), (200, 6)])
async def test_when_the_end_is_near(fill, buffered, clock, seconds, fed):
    """Only the first few are fed when it is seconds away, and known to be; the others get the rest from the store."""
    readers = [fill.reader(0, len(CONTENT)) for _ in range(6)]
    clock.advance(seconds)
    fill.feed([CONTENT[:50]])
    assert buffered.total == 50 * 6
    fill.feed([CONTENT[50:100]])
    assert buffered.total == 100 * fed
    fill.feed([CONTENT[100:]])
    stored = [Stored(CONTENT) for _ in readers]
    fill.complete(lambda start, length: stored.pop().open(start, length))
    for reader in readers:
        assert await rest(reader) == CONTENT


async def test_one_who_goes(fill, buffered):
    """A reader that is closed keeps nothing, and hinders nobody."""
    gone, stays = fill.reader(0, len(CONTENT)), fill.reader(0, len(CONTENT))
    fill.feed([CONTENT[:500]])
    gone.close()
    fill.feed([CONTENT[500:]])
    fill.complete(Stored(CONTENT).open)
    assert await rest(stays) == CONTENT
    stays.close()
    assert buffered.total == 0


async def test_after_a_skip(fill):
    """Who goes on where another left off has no first bytes to give."""
    reader = fill.reader(0, len(CONTENT))
    later = fill.reader(600, 100)
    fill.skip(500)
    fill.feed([CONTENT[500:]])
    stored = Stored(CONTENT)
    fill.complete(stored.open)
    assert await rest(later) == CONTENT[600:700]
    assert stored.opened == []
    assert await rest(reader) == CONTENT


@given(st.data())
def test_any_range_in_any_pieces(data):
    """Whatever the pieces and whoever reads when: everybody gets the range that it asked for."""
    buffered = Buffered()
    fill, reading, readers = Fill(len(CONTENT), buffered, Clock()), [], []
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, 999), max_size=8))), 1000]
    for first, last in pairwise(cuts):
        start = data.draw(st.integers(0, 999))
        length = data.draw(st.integers(1, 1000 - start))
        readers.append((fill.reader(start, length), CONTENT[start : start + length]))
        if data.draw(st.booleans()):
            reading.append((begin(rest(readers[-1][0])), readers[-1][1]))
            readers.pop()
        fill.feed([CONTENT[first:last]])
    fill.complete(lambda start, length: Stored(CONTENT).open(start, length))
    reading += [(begin(rest(reader)), expected) for reader, expected in readers]
    assert [work.result for work, _ in reading] == [expected for _, expected in reading]
    assert buffered.total == 0
