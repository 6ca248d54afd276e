"""A blob on its way from an upstream into the store, and those who read it meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from artifactapi.objects.interface import IObjectReader

WINDOW = 4 * 1024 * 1024
"""Bytes that one reader may be behind; who is slower waits until the whole is in the store, and reads it there."""
IN_ALL = 64 * 1024 * 1024
"""The same of all readers of this process together."""
PIECE = 1024 * 1024
FED = 4
MEASURED = 0.2
SOON = 10.0
"""When the whole is that many seconds away, only the first few readers are fed any more: the others get the rest from
the store, by os.sendfile, for a tenth of the CPU that the reactor would spend on it. MEASURED: seconds before the rate
is believed."""
PATIENCE = 5.0
"""Seconds that an answer waits for its first bytes: until then, what goes wrong can still be told."""

Open = Callable[[int, int], Awaitable[IObjectReader]]
"""Opens `length` bytes from `start` on of what is in the store."""


class Buffered:
    """Bytes that wait for readers, of all fills of this process."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0


class Fill:
    """Bytes come in order; `complete` says that they are in the store and have their digest, `fail` that they will
    not be."""

    def __init__(self, size: int, buffered: Buffered, reactor: Any) -> None:
        self.size = size
        self.offset = 0
        self._buffered = buffered
        self._reactor = reactor
        self._began = reactor.seconds(), 0
        self._readers: dict[FillReader, None] = {}  # in the order in which they came
        self._open: Open | None = None
        self._error: Exception | None = None
        self._waiting: list[Deferred[None]] = []

    def feed(self, pieces: Sequence[bytes]) -> None:
        """The next bytes, for those who keep up."""
        at = self.offset
        self.offset += sum(map(len, pieces))
        fed = FED if self._ends_soon() else len(self._readers)
        for number, reader in enumerate(list(self._readers)):
            reader.take(at, pieces if number < fed else ())

    def skip(self, offset: int) -> None:
        """The bytes up to there are in the store already: nobody can be given them now."""
        self.offset = offset
        self._began = self._reactor.seconds(), offset

    def complete(self, opening: Open) -> None:
        """All is in the store."""
        self._open = opening
        self._wake()

    def fail(self, error: Exception) -> None:
        """It ends here, with this error for everybody."""
        self._error = error
        self._wake()

    async def ended(self) -> Open:
        """How to open it, when all of it is in the store. Raises what it has failed with."""
        while self._open is None:
            if self._error is not None:
                raise self._error
            waiter: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiter)
            await waiter
        return self._open

    async def open(self, start: int, length: int) -> FillReader:
        """`length` bytes from `start` on, when the first of them are here, or none come for a while.

        Raises what it has failed with before that.
        """
        reader = self.reader(start, length)
        patience = self._reactor.callLater(PATIENCE, reader.hurry)
        try:
            await reader.ready()
        except BaseException:
            reader.close()
            raise
        finally:
            if patience.active():
                patience.cancel()
        return reader

    def reader(self, start: int, length: int) -> FillReader:
        """The same at once."""
        reader = FillReader(self, start, length, self._buffered)
        if self._open is None:
            self._readers[reader] = None
        return reader

    def forget(self, reader: FillReader) -> None:
        """It reads no more."""
        self._readers.pop(reader, None)

    @property
    def is_right(self) -> bool:
        """Whether all is there and has its digest."""
        return self._open is not None

    @property
    def is_over(self) -> bool:
        """Whether it is complete, or has failed."""
        return self._open is not None or self._error is not None

    def _ends_soon(self) -> bool:
        """Whether it will be whole in SOON seconds, at the rate so far."""
        began, first = self._began
        took = self._reactor.seconds() - began
        return bool(took > MEASURED and (self.size - self.offset) * took < SOON * (self.offset - first))

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
        for reader in list(self._readers):
            reader.wake()


@implementer(IObjectReader)
class FillReader:
    """Reads along. The last bytes are held back until the digest is known to be right: who has got all has got it
    right."""

    descriptor = None
    start = 0
    rest: IObjectReader | None = None

    def __init__(self, fill: Fill, start: int, length: int, buffered: Buffered) -> None:
        self.length = length
        self._fill = fill
        self._at = start
        self._left = length
        self._buffered = buffered
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._waiter: Deferred[None] | None = None
        self._hurried = False
        self._left_alone = False
        # Bytes that went by before it came, or faster than it reads, are not to be had before the end.
        self._behind = start < fill.offset

    def take(self, at: int, pieces: Sequence[bytes]) -> None:
        """Bytes from offset `at` on have come; none are for whom others come first."""
        if not pieces or at > self._at + self._held:  # some went by, or go by, that it is not given
            self._drop()
        for piece in pieces:
            first, last = max(at, self._at + self._held), min(at + len(piece), self._at + self._left)
            if not self._behind and first < last:
                self._keep(piece[first - at : last - at])
            at += len(piece)
        if self._held > WINDOW or (self._held and self._buffered.total > IN_ALL):
            self._drop()
        self.wake()

    async def ready(self) -> None:
        """When it can give bytes, or `hurry` was called. Raises what the fill has failed with."""
        while not (self._can_give or self._fill.is_over or self._hurried or self._left_alone):
            await self._more()
        if self._fill.is_over:
            await self._fill.ended()

    def hurry(self) -> None:
        """Be ready, bytes or not."""
        self._hurried = True
        self.wake()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end, or when `rest` has what is left. Raises what the fill has failed with."""
        while self._left and self.rest is None and not self._left_alone:
            if data := self._next():
                self._at += len(data)
                self._left -= len(data)
                return data
            if self._fill.is_over:
                self.rest = await (await self._fill.ended())(self._at, self._left)
            else:
                await self._more()
        return b""

    def leave(self) -> None:
        """Its client has hung up: whoever reads is told that this is the end."""
        self._left_alone = True
        self.wake()

    def close(self) -> None:
        """Read no more."""
        self._drop()
        self._fill.forget(self)
        if self.rest is not None:
            self.rest.close()

    def wake(self) -> None:
        """Something has changed."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    async def _more(self) -> None:
        self._waiter = Deferred()
        await self._waiter

    @property
    def _can_give(self) -> bool:
        return bool(self._pieces) and (len(self._pieces[0]) < self._left or self._fill.is_right)

    def _next(self) -> bytes:
        """Some of what is here; never the last bytes, as long as they may be wrong."""
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < PIECE:
            if size + len(self._pieces[0]) == self._left and not self._fill.is_right:
                break
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._account(-size)
        return b"".join(taken)

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._account(len(piece))

    def _drop(self) -> None:
        """What was kept is to be read from the store later."""
        self._behind = True
        self._pieces.clear()
        self._account(-self._held)

    def _account(self, size: int) -> None:
        self._held += size
        self._buffered.total += size
