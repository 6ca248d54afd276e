"""A request's body as it arrives, with back-pressure to the client's socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from artifactapi.oci.errors import OciError, RequestTimeout
from artifactapi.registry.intake import ClientGone

HIGH = 4 * 1024 * 1024
"""Bytes of one body that wait for their reader before its socket is paused."""
HIGH_IN_ALL = 32 * 1024 * 1024
"""Bytes of all bodies that wait; beyond, each may keep only what its socket's last read brought."""

WINDOW_SECONDS = 60
"""Over how long a body's rate is taken."""


class TooSlow(ClientGone, RequestTimeout):
    """A client that sends its body so slowly that it is treated as one that hung up, yet told so."""


class Waiting:
    """How many bytes wait, in all bodies of this process."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0


class Body:
    """Fed by the channel, read by a handler; one reader.

    `transport` is paused while the reader is behind, so that a client sends no faster than the store takes.
    """

    # Of the window: the seconds in which the socket was read, and `received` at its begin.
    _seconds = 0
    _base = 0
    _held = False
    _end: ClientGone | None = None

    def __init__(self, transport: Any, length: int | None, waiting: Waiting) -> None:
        self.length = length
        self.received = 0
        self.complete = False
        self.paused = False
        self._transport = transport
        self._waiting = waiting
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._lost = False
        self._discarding = False
        self._reader: Deferred[None] | None = None

    async def read(self) -> list[bytes]:
        """What has come since the last call; [] at the end. Raises ClientGone (which may be a TooSlow) once all
        that came was given."""
        while not self._pieces:
            if self.complete:
                return []
            if self._end is not None:
                raise self._end
            self._resume()
            self._reader = Deferred(self._forget_reader)
            await self._reader
        pieces, self._pieces = self._pieces, []
        self._account(-self._buffered)
        self._resume()
        return pieces

    async def read_all(self, limit: int, too_large: OciError) -> bytes:
        """The whole body, if it has at most `limit` bytes. Raises `too_large`, ClientGone."""
        if self.length is not None and self.length > limit:
            raise too_large
        pieces: list[bytes] = []
        while more := await self.read():
            pieces += more
            if self.received > limit:
                raise too_large
        return b"".join(pieces)

    def feed(self, data: bytes) -> None:
        """Bytes from the channel."""
        self.received += len(data)
        if self._discarding or not data:
            return
        self._pieces.append(data)
        self._account(len(data))
        if self._buffered >= HIGH or self._waiting.total >= HIGH_IN_ALL:
            self.paused = self._held = True
            self._transport.pauseProducing()
        self._wake()

    def finish(self) -> None:
        """The last byte has come."""
        self.complete = True
        self._wake()

    def lose(self) -> None:
        """The connection is gone."""
        self._lost = True
        self._end = ClientGone()
        self._wake()

    def give_up(self) -> None:
        """Its reader shall wait no longer, as if the client had gone."""
        self._end = self._end or TooSlow("the body came too slowly; what came of an upload was kept")
        self._wake()

    def is_slow(self, rate: int) -> bool:
        """To be called every second: whether a window ends now in which less than `rate` bytes a second came.

        A second in which the socket was held does not count, nor does a body that nobody reads.
        """
        held, self._held = self._held, self.paused
        if held or self.complete or self._discarding:
            return False
        self._seconds += 1
        if self._seconds < WINDOW_SECONDS:
            return False
        came, self._seconds, self._base = self.received - self._base, 0, self.received
        return came < rate * WINDOW_SECONDS

    def discard(self) -> None:
        """Nobody reads any more: what is here and what comes is dropped."""
        self._discarding = True
        self._pieces.clear()
        self._account(-self._buffered)
        self._resume()

    def _account(self, size: int) -> None:
        self._buffered += size
        self._waiting.total += size

    def _resume(self) -> None:
        if self.paused and not self._lost:
            self.paused = False
            self._transport.resumeProducing()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def _forget_reader(self, _: Deferred[None]) -> None:
        self._reader = None
