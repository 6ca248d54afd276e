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
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from artifactapi.metrics import Report
from artifactapi.service import Config
from artifactapi.workers.channel import Channel
from artifactapi.workers.worker import BOUND, CHANNEL

PAUSES = (0.1, 5.0)  # seconds before a worker is started again: at first, and at most
LASTING_SECONDS = 60.0  # a life as long as this makes the next pause a short one
LEEWAY_SECONDS = 10.0  # for a worker to stop all else when its requests have ended
REPORT_SECONDS = 2.0
log = Logger()


class Member(ProcessProtocol):
    """The worker of a number. `ask` is called when it wants to know the metrics of all, and is owed a `give`."""

    def __init__(
        self, number: int, config: Config, bound: socket.socket, ask: Callable[[Member], object], reactor: Any
    ) -> None:
        self.number = number
        self.serves = False
        self.end = ""
        self._config = config
        self._bound = bound
        self._ask = ask
        self._reactor = reactor
        self._first: Deferred[str | None] | None = None
        self._reports: deque[Deferred[Report | None]] = deque()
        self._pause = PAUSES[0]
        self._again: Any = None
        self._ended: Deferred[None] | None = None
        self._stopping = False

    def start(self) -> Deferred[str | None]:
        """Start the process. Gives its address once it serves; None if it ended before, and `end` says how."""
        if self._stopping:
            return succeed(None)
        first = self._first = Deferred()
        self._spawn()
        return first

    async def stop(self) -> None:
        """End the process: its running requests end first."""
        self._stopping = True
        if self._again is not None and self._again.active():
            self._again.cancel()
        patience = self._config.drain_seconds + self._config.shutdown_grace + LEEWAY_SECONDS
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, LEEWAY_SECONDS)):
            if self._ended is None:
                return
            self._signal(number)
            try:
                await self._ended.addTimeout(seconds, self._reactor)
            except TookTooLong:
                log.warn("worker {number} did not end on {name}", number=self.number, name=number.name)
                self._ended = Deferred()

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
        self._born = self._reactor.seconds()
        self._ended = Deferred()
        # The same modules as here, wherever they were found.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        self._process = self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-P", "-m", "artifactapi.workers"],
            env=environment,
            childFDs={0: 0, 1: 1, 2: 2, CHANNEL: theirs.fileno(), BOUND: self._bound.fileno()},
        )
        theirs.close()
        self._channel = Channel.over(ours, self._receive, self._hang_up, self._reactor)
        self._channel.tell("begin", (self.number, self._config))

    def _receive(self, word: str, value: Any) -> None:
        if word == "serving":
            self.serves = True
            self._settle(value)
        elif word == "reports":
            self._ask(self)
        elif word == "report" and not (waiting := self._reports.popleft()).called:
            waiting.callback(value)

    def _hang_up(self) -> None:
        self.serves = False
        while self._reports:
            if not (waiting := self._reports.popleft()).called:
                waiting.callback(None)

    def processEnded(self, reason: Failure) -> None:
        """It has ended: as it was told to, or it is started again, or there is no use in that."""
        ended, self._ended = self._ended, None
        self.end = _how(reason)
        if self._first is None and not self._stopping:
            self._revive()
        self._settle(None)
        assert ended is not None
        ended.callback(None)

    def _settle(self, address: str | None) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.callback(address)

    def _revive(self) -> None:
        if self._reactor.seconds() - self._born > LASTING_SECONDS:
            self._pause = PAUSES[0]
        log.warn("worker {number} {how}; it is started again", number=self.number, how=self.end)
        self._again = self._reactor.callLater(self._pause, self._spawn)
        self._pause = min(2 * self._pause, PAUSES[1])

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessExitedAlready):  # then processEnded is on its way
            self._process.signalProcess(number.value)


def _how(reason: Failure) -> str:
    value: Any = reason.value
    if value.signal is not None:
        return f"was ended by {signal.Signals(value.signal).name}"
    return f"ended with status {value.exitCode}"
