"""The first process: it owns the port and the embedded Postgres, and sees to it that the workers serve."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import not_
from typing import Any

from twisted.internet import endpoints
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from artifactapi.config import Config
from artifactapi.daemon import Daemon, StartError
from artifactapi.service import address_text
from artifactapi.shield import detached
from artifactapi.workers.listening import Binding, Door
from artifactapi.workers.member import Member

log = Logger()


class Fleet(Daemon):
    """The registry, served by `config.workers` processes."""

    def __init__(self, config: Config, reactor: Any = None) -> None:
        super().__init__(reactor)
        self.config = config
        self._members: deque[Member] = deque()
        self._door: Door

    async def start(self) -> None:
        """Start what the workers share, then the workers."""
        config = replace(self.config, drain_seconds=0)  # draining is this process' affair
        self._make_directory(config.data_dir)
        if config.database_url is None:
            config = replace(config, database_url=await self._start_embedded(config.data_dir))
        self._door = await self._bind()
        members = [Member(n + 1, config, self._open, self._answer, self._reactor) for n in range(config.workers)]
        self._members.extend(members)
        self._stops.append(self._stop_members)
        # One alone comes first: it brings the schema up to date, or says why that cannot be.
        if await self._all_serve(members[:1]) and await self._all_serve(members[1:]):
            address = address_text(config.listen, self._door.address)
            log.info("serving on {address} from {count} processes", address=address, count=config.workers)

    async def _all_serve(self, members: Sequence[Member]) -> bool:
        """Start them. If one ends before it served, so does this process."""
        serve = await gatherResults([member.start() for member in members])
        for member in compress(members, map(not_, serve)):
            self._failed_start(member)
        return all(serve)

    async def _bind(self) -> Door:
        try:
            door: Any = await endpoints.serverFromString(Binding(self._reactor), self.config.listen).listen(Factory())
        except CannotListenError as error:
            raise StartError(f"cannot listen on {self.config.listen}: {error.socketError}") from error
        assert isinstance(door, Door)
        return door

    def _open(self) -> None:
        try:
            self._door.open(self._offer)
        except OSError as error:  # bound by two, and the other one listens
            self._fail(f"cannot listen on {self.config.listen}: {error}")

    def _offer(self, connection: socket.socket) -> bool:
        """To each in turn; whether one has taken it."""
        for _ in range(len(self._members)):
            self._members.rotate(-1)
            if self._members[-1].take(connection):
                return True
        return any(member.serves for member in self._members)

    async def _stop_members(self) -> None:
        serve = any(member.serves for member in self._members)
        for member in self._members:
            member.drain()
        await deferLater(self._reactor, self.config.drain_seconds if serve else 0)
        self._door.close()
        await gatherResults([Deferred.fromCoroutine(member.stop()) for member in self._members])

    def _failed_start(self, member: Member) -> None:
        if member.end == "ended with status 1":  # it has said why
            self._end()
        else:
            self._fail(f"worker {member.number} {member.end} before it served")

    def _answer(self, member: Member) -> None:
        detached(self._gather(member))

    async def _gather(self, asking: Member) -> None:
        serving = [member for member in self._members if member.serves]
        reports = await gatherResults([member.report() for member in serving])
        found = {str(m.number): report for m, report in zip(serving, reports, strict=True) if report is not None}
        if asking.serves:
            asking.give(found)
