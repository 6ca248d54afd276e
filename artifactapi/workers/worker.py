"""A process that serves the connections which the first process hands to it."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger, globalLogBeginner

from artifactapi import logs
from artifactapi.config import Config
from artifactapi.metrics import Report
from artifactapi.service import Artifactapi
from artifactapi.workers.channel import Channel
from artifactapi.workers.listening import Adoption

CHANNEL, HANDED = 3, 4
"""The descriptors with which a worker is started."""
REPORT_SECONDS = 3.0
"""How long the first process may take to ask the others for their metrics."""
log = Logger()


class Worker(Artifactapi):
    """The registry in one of several processes."""

    def __init__(self, number: int, config: Config, channel: Channel, reactor: Any) -> None:
        super().__init__(config, reactor)
        self._number = number
        self._channel = channel
        self._ports = Adoption(socket.socket(fileno=HANDED), reactor)
        self._serves = False
        self._asked: deque[Deferred[Mapping[str, Report]]] = deque()

    def receive(self, word: str, value: Any) -> None:
        """What the first process says: it wants our metrics, or has those of all; it is about to stop, or enough."""
        if word == "report":
            self._channel.tell("report", self.metrics.report())
        elif word == "reports" and not (waiting := self._asked.popleft()).called:
            waiting.callback(value)
        elif word == "drain" and self._serves:
            self.health.draining = True
        elif word == "stop":
            self._stop_reactor()

    def orphan(self) -> None:
        """The first process has gone."""
        if not self._stopping:
            log.warn("worker {number} ends: the first process has gone", number=self._number)
            self._end()

    def _take_signals(self) -> None:
        """Those that a terminal or an init sends to all processes are the first one's to decide upon."""

    def _announce(self, address: str) -> None:
        log.info("worker {number} (pid {pid}) serves", number=self._number, pid=os.getpid())
        self._serves = True
        self._channel.tell("serving")

    async def _reports(self) -> Mapping[str, Report]:
        waiting: Deferred[Mapping[str, Report]] = Deferred()
        self._asked.append(waiting)
        self._channel.tell("reports")
        try:
            return await waiting.addTimeout(REPORT_SECONDS, self._reactor)
        except TookTooLong:
            return {str(self._number): self.metrics.report()}


class Beginning:
    """A worker before it knows its configuration, and then the worker."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._worker: Worker | None = None
        self._channel = Channel.over(socket.socket(fileno=CHANNEL), self._receive, self._lost, reactor)

    def _receive(self, word: str, value: Any) -> None:
        if self._worker is None:
            self._begin(*value)
        else:
            self._worker.receive(word, value)

    def _begin(self, number: int, config: Config) -> None:
        observer = logs.json_observer() if config.log_format == "json" else logs.text_observer()
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        worker = self._worker = Worker(number, config, self._channel, self._reactor)
        worker.startService()
        # A Deferred, since the reactor does not wait for a coroutine.
        self._reactor.addSystemEventTrigger("before", "shutdown", maybeDeferred, worker.stopService)

    def _lost(self) -> None:
        if self._worker is None:
            self._reactor.stop()
        else:
            self._worker.orphan()


def main() -> None:
    """Serve until the first process says that it is enough, or has gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from twisted.internet import reactor

    Beginning(reactor)
    run: Any = reactor.run
    run(installSignalHandlers=False)
