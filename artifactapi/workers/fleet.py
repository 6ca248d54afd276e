"""The first process: it owns the port and the embedded Postgres, and sees to it that the workers serve."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet import endpoints
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from artifactapi.daemon import Daemon, StartError
from artifactapi.service import Config
from artifactapi.shield import detached
from artifactapi.workers.listening import Binding
from artifactapi.workers.member import Member

log = Logger()


class Fleet(Daemon):
    """The registry, served by `config.workers` processes."""

    def __init__(self, config: Config, reactor: Any = None) -> None:
        super().__init__(reactor)
        self.config = config
        self._members: list[Member] = []
        self._address = ""

    async def start(self) -> None:
        """Start what the workers share, then the workers."""
        config = self.config
        self._make_directory(config.data_dir)
        if config.database_url is None:
            config = replace(config, database_url=await self._start_embedded(config.data_dir))
        bound = await self._bind()
        self._members = [Member(n + 1, config, bound, self._answer, self._reactor) for n in range(config.workers)]
        self._stops.append(lambda: self._stop_members(bound))
        # One alone comes first: it brings the schema up to date, or says why that cannot be.
        if await self._all_serve(self._members[:1]) and await self._all_serve(self._members[1:]):
            log.info("serving on {address} from {count} processes", address=self._address, count=config.workers)

    async def _all_serve(self, members: Sequence[Member]) -> bool:
        """Start them. If one ends before it served, so does this process."""
        addresses = await gatherResults([member.start() for member in members])
        for member, address in zip(members, addresses, strict=True):
            if address is None:
                self._failed_start(member)
                return False
            self._address = address
        return True

    async def _bind(self) -> socket.socket:
        try:
            endpoint = endpoints.serverFromString(Binding(), self.config.listen)
            bound: Any = await endpoint.listen(Factory())
        except CannotListenError as error:
            raise StartError(f"cannot listen on {self.config.listen}: {error.socketError}") from error
        assert isinstance(bound, socket.socket)
        return bound

    async def _stop_members(self, bound: socket.socket) -> None:
        bound.close()  # the workers still have it, and are the last to close it
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
