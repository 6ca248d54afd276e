"""A process whose parts are started in order and stopped in reverse, and which a failed start ends."""

from __future__ import annotations

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from artifactapi.embedded import EmbeddedError, EmbeddedPostgres, explained
from artifactapi.objects.files import make_directory
from artifactapi.oci.errors import OciError, Refused, Unavailable
from artifactapi.shield import detached

BETWEEN_TRIES = 0.5
BETWEEN_LINES = 5.0
log = Logger()


class StartError(Exception):
    """Why the daemon cannot start, in one line."""


class Daemon(Service, ABC):
    """What twistd runs: `start` is the subclass's, and puts on `_stops` how each part is stopped."""

    def __init__(self, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._stops: list[Callable[[], Awaitable[object]]] = []
        self._started: Deferred[None] | None = None
        self._stopping = False
        self._failed = False

    @abstractmethod
    async def start(self) -> None:
        """Start all parts. Raises StartError, EmbeddedError, OciError; what was started is stopped by stopService."""

    def startService(self) -> None:
        """Start; twistd would stay up, listening to nothing, if this failed and we let it."""
        super().startService()
        self._take_signals()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._settle_status)
        self._started = detached(self._start_or_exit())

    async def stopService(self) -> None:
        """Stop in reverse order, a start that is under way too."""
        super().stopService()
        self._stopping = True
        await self._stop_parts()
        if self._started is not None:
            await self._started
        await self._stop_parts()  # those that the start began in its last moments

    async def _stop_parts(self) -> None:
        while self._stops:
            await self._stops.pop()()

    async def _start_or_exit(self) -> None:
        try:
            await self.start()
        except (StartError, EmbeddedError, OciError) as error:
            self._fail(str(error))
        except Exception:  # the last resort: whatever it is, the process must not stay up
            if not self._stopping:
                log.failure("cannot start")
            self._fail("unexpected error, see above")

    def _fail(self, reason: str) -> None:
        if self._stopping or self._failed:
            return  # what breaks because the rest is going away is no news
        log.critical("artifactapi: {reason}", reason=" ".join(reason.split()))
        self._end()

    def _end(self) -> None:
        """Stop the process; its status will be 1."""
        self._failed = True
        # Not now: a start that fails at once runs before the reactor does.
        self._reactor.callWhenRunning(self._reactor.callLater, 0, self._stop_reactor)

    def _stop_reactor(self) -> None:
        if not self._stopping:
            self._reactor.stop()

    def _take_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._reactor.sigTerm)  # the reactor does so later, and until then it would kill
        self._reactor.addSystemEventTrigger("before", "shutdown", self._ignore_signals)

    def _ignore_signals(self) -> None:
        """The reactor would answer a second one with a traceback, since it cannot stop twice."""

        def ignore(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(log.info, "stopping already")

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ignore)

    def _settle_status(self) -> None:
        # twistd knows no exit status of its own, and after a stop that went well it kills itself with the signal.
        self._reactor._exitSignal = None
        if self._failed:
            sys.stdout.flush()
            os._exit(1)

    async def _patiently(self, start: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Try again while what the daemon depends on is not up yet. Raises Unavailable after `seconds`, Refused at
        once."""
        deadline, quiet = self._reactor.seconds() + seconds, 0.0
        while not self._stopping:
            try:
                return await start()
            except Unavailable as error:
                now = self._reactor.seconds()
                if now >= deadline or isinstance(error, Refused):
                    raise
                if now >= quiet:
                    log.warn("{reason}; trying again", reason=error.message)
                    quiet = now + BETWEEN_LINES
            await deferLater(self._reactor, BETWEEN_TRIES)
        raise StartError("stopped")

    def _make_directory(self, path: Path) -> None:
        try:
            make_directory(path)
        except OSError as error:
            raise explained(error, path) from error

    async def _start_embedded(self, directory: Path) -> str:
        """The default Postgres; its DSN."""
        postgres = EmbeddedPostgres(directory, self._reactor)
        postgres.on_failure = lambda error: self._fail(str(error))
        self._stops.append(postgres.stop)
        return await postgres.start()
