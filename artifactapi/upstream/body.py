"""The body of an answer, no faster than it is read."""

from __future__ import annotations

from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from artifactapi.upstream.errors import Broken, UpstreamError
from artifactapi.upstream.failures import explained

MOST_HELD = 256 * 1024
"""Bytes that may wait for a reader; then the upstream waits."""
MOST_DISCARDED = 64 * 1024
DISCARD_SECONDS = 10.0
"""What is not worth a new connection: so many bytes, so long, are let pass to use this one again."""


class Body(Protocol):
    """Where Twisted delivers a body. `idle` is how many seconds a reader waits for the next bytes."""

    def __init__(self, reactor: Any, idle: float) -> None:
        self._reactor = reactor
        self._idle = idle
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._discarding = False
        self._late: IDelayedCall | None = None
        self._ended = False
        self._error: UpstreamError | None = None
        self._waiting: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the upstream."""
        self._held += len(data)
        if self._discarding:
            if self._held > MOST_DISCARDED:
                self.close()
        elif not self._ended:
            self._pieces.append(data)
            if self._held >= MOST_HELD:
                self._pause(True)
            self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or no more; a body that nothing delimits ends with its connection."""
        if self._late is not None and self._late.active():
            self._late.cancel()
        if self._ended:
            return
        assert reason.value
        well = reason.check(ResponseDone, PotentialDataLoss)
        self._end(None if well else explained(reason.value, "cut"))

    async def read(self) -> list[bytes]:
        """What has come since, at least one byte; [] at the end. Raises Broken."""
        if not self._pieces and not self._ended:
            await self._more()
        if not self._pieces and self._error is not None:
            raise self._error
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._pause(False)
        return pieces

    async def read_all(self, most: int, seconds: float) -> bytes:
        """All of it. Raises Broken, if it has more than `most` bytes or takes longer too."""
        try:
            return await self._read_all(most, self._reactor.seconds() + seconds)
        except BaseException:  # whoever waits for it may be cancelled: then nobody would end the connection
            self.close()
            raise

    async def _read_all(self, most: int, deadline: float) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while more := await self.read():
            pieces += more
            size += sum(map(len, more))
            if size > most:
                raise Broken("large")
            if self._reactor.seconds() > deadline:
                raise Broken("timeout")
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection, unless the body is complete. May be called twice."""
        self._pieces = []
        if not self._ended or self._discarding:
            self._discarding = False
            self._end(Broken("cut", "closed by us"))
            assert self.transport
            self.transport.loseConnection()

    def discard(self) -> None:
        """Nobody wants the rest; the connection can be used again, if that is little and comes soon."""
        self._pieces = []
        if not self._ended:
            self._discarding = True
            self._late = self._reactor.callLater(DISCARD_SECONDS, self.close)
            self._pause(False)

    async def _more(self) -> None:
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        waiting.addTimeout(self._idle, self._reactor, self._too_late)
        try:
            await waiting
        finally:
            self._waiting = None

    def _too_late(self, result: object, seconds: float) -> NoReturn:
        self._waiting = None
        self.close()
        raise Broken("timeout")

    def _pause(self, wanted: bool) -> None:
        if wanted != self._paused and not self._ended:
            self._paused = wanted
            transport: Any = self.transport
            (transport.pauseProducing if wanted else transport.resumeProducing)()

    def _end(self, error: UpstreamError | None) -> None:
        self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
