"""A worker as the first process sees it: started, asked, started again, stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from artifactapi.config import Config
from artifactapi.metrics import Report
from artifactapi.workers.channel import Channel
from artifactapi.workers.worker import CHANNEL, HANDED

PAUSES = (0.1, 5.0)  # seconds before a worker is started again: at first, and at most
LASTING_SECONDS = 60.0  # a life as long as this makes the next pause a short one
LEEWAY_SECONDS = 10.0  # for a worker to stop all else when its requests have ended
REPORT_SECONDS = 2.0
log = Logger()


class Member(ProcessProtocol):
    """The worker of a number.

    `begins` is called each time it begins to serve; `asks` when it wants the metrics of all, and is owed a `give`.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        begins: Callable[[], object],
        asks: Callable[[Member], object],
        reactor: Any,
    ) -> None:
        self.number = number
        self.serves = False
        self.end = ""
        self._config = config
        self._begins = begins
        self._asks = asks
        self._reactor = reactor
        self._first: Deferred[bool] | None = None
        self._reports: deque[Deferred[Report | None]] = deque()
        self._pause = PAUSES[0]
        self._again: Any = None
        self._ended: Deferred[None] | None = None
        self._stopping = False

    def start(self) -> Deferred[bool]:
        """Start the process. True once it serves; False if it ended before, and `end` says how."""
        if self._stopping:
            return succeed(False)
        first = self._first = Deferred()
        self._spawn()
        return first

    def take(self, connection: socket.socket) -> bool:
        """Hand a connection to it; False if it does not serve, or is far behind with those it has."""
        try:
            return self.serves and socket.send_fds(self._handing, [b"!"], [connection.fileno()]) == 1
        except OSError:
            return False

    def drain(self) -> None:
        """Let it say that it is about to stop. It is not started again."""
        self._stopping = True
        if self._ended is not None:
            self._channel.tell("drain")

    async def stop(self) -> None:
        """End the process: its running requests end first."""
        self._stopping = True
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self._ended is None:
            return
        self._channel.tell("stop")
        too_late = self._reactor.callLater(self._config.shutdown_grace + LEEWAY_SECONDS, self._kill)
        await self._ended
        if too_late.active():
            too_late.cancel()

    def report(self) -> Deferred[Report | None]:
        """Its metrics; None if it does not answer."""
        report: Deferred[Report | None] = Deferred()
        self._reports.append(report)
        self._channel.tell("report")
        return report.addTimeout(REPORT_SECONDS, self._reactor).addErrback(lambda failure: None)

    def give(self, reports: dict[str, Report]) -> None:
        """The metrics of all workers, for which it has asked."""
        self._channel.tell("reports", reports)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self._handing, handed = socket.socketpair()
        self._handing.setblocking(False)
        self._born = self._reactor.seconds()
        self._ended = Deferred()
        # The same modules as here, wherever they were found.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        self._process = self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-P", "-m", "artifactapi.workers"],
            env=environment,
            childFDs={0: 0, 1: 1, 2: 2, CHANNEL: theirs.fileno(), HANDED: handed.fileno()},
        )
        theirs.close()
        handed.close()
        self._channel = Channel.over(ours, self._receive, lambda: None, self._reactor)
        self._channel.tell("begin", (self.number, self._config))

    def _receive(self, word: str, value: Any) -> None:
        if word == "serving":
            self.serves = True
            self._begins()
            self._settle(True)
        elif word == "reports":
            self._asks(self)
        elif word == "report" and not (waiting := self._reports.popleft()).called:
            waiting.callback(value)

    def _hang_up(self) -> None:
        self.serves = False
        self._handing.close()
        while self._reports:
            if not (waiting := self._reports.popleft()).called:
                waiting.callback(None)

    def processEnded(self, reason: Failure) -> None:
        """It has ended: as it was told to, or it is started again, or there is no use in that."""
        ended, self._ended = self._ended, None
        self._hang_up()
        self.end = _how(reason)
        if self._first is None and not self._stopping:
            self._revive()
        self._settle(False)
        assert ended is not None
        ended.callback(None)

    def _settle(self, serves: bool) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.callback(serves)

    def _revive(self) -> None:
        if self._reactor.seconds() - self._born > LASTING_SECONDS:
            self._pause = PAUSES[0]
        log.warn("worker {number} {how}; it is started again", number=self.number, how=self.end)
        self._again = self._reactor.callLater(self._pause, self._spawn)
        self._pause = min(2 * self._pause, PAUSES[1])

    def _kill(self) -> None:
        log.warn("worker {number} does not end; it is killed", number=self.number)
        with suppress(ProcessExitedAlready):  # then processEnded is on its way
            self._process.signalProcess("KILL")


def _how(reason: Failure) -> str:
    value: Any = reason.value
    if value.signal is not None:
        return f"was ended by {signal.Signals(value.signal).name}"
    return f"ended with status {value.exitCode}"
