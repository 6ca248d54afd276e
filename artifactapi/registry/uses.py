"""What is pulled from remote repos: remembered here, and written down together, so that no pull writes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from artifactapi.metadata import cached
from artifactapi.metadata.cached import Use
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import OciError
from artifactapi.oci.names import ImageName

EVERY = 60.0
MOST = 10_000
"""Uses that wait; what is beyond is not remembered, which may evict it a little early."""
log = Logger()


class Uses:
    """Pulls since the last writing."""

    def __init__(self, database: Database, reactor: Any) -> None:
        self._database = database
        self._waiting: set[Use] = set()
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.write()))
        self._loop.clock = reactor

    def start(self) -> None:
        """Write them down every minute."""
        self._loop.start(EVERY, now=False)

    async def stop(self) -> None:
        """Write down what is left."""
        if self._loop.running:
            self._loop.stop()
        await self.write()

    def add(self, name: ImageName, digest: str) -> None:
        """Somebody pulled it."""
        if len(self._waiting) < MOST:
            self._waiting.add((name.repo, name.image, digest))

    async def write(self) -> None:
        """Write them down; those that cannot be are forgotten."""
        uses, self._waiting = self._waiting, set()
        if not uses:
            return
        try:
            await cached.used(self._database, uses)
        except OciError as error:
            log.warn("what was pulled could not be written down: {error}", error=error.message)
        except Exception:  # LoopingCall would end with its first error
            log.failure("what was pulled could not be written down")
