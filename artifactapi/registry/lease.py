"""The right to fetch a blob from an upstream, which one replica at a time has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from artifactapi.metadata import fills as rows
from artifactapi.metadata.blobs import Key
from artifactapi.metadata.database import Queryable
from artifactapi.oci.errors import OciError

SECONDS = 20.0
HEARTBEAT = 5.0
"""A replica that says nothing for SECONDS has died, and another one goes on."""
log = Logger()


class Lease:
    """Of the blob `key`, which is fetched into `session`."""

    def __init__(self, db: Queryable, reactor: Any, key: Key, session: UUID) -> None:
        self.key = key
        self.session = session
        self._db = db
        self._reactor = reactor

    async def begin(self, session: UUID, size: int | None) -> None:
        """Fetch into that session from now on; the blob has `size` bytes, if that is known."""
        await rows.begin(self._db, *self.key, self.session, session, size)
        self.session = session

    @asynccontextmanager
    async def held(self, lost: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Renew it meanwhile; `lost` is called when there is none any more: the repo is gone."""

        async def renew() -> None:
            if not await self._renew(SECONDS):
                lost()

        beat = LoopingCall(lambda: Deferred.fromCoroutine(renew()))
        beat.clock = self._reactor
        ended = beat.start(HEARTBEAT, now=False)
        try:
            yield
        finally:
            beat.stop()
            await ended  # what is let go of then is not renewed any more

    async def let_go(self) -> None:
        """Whoever wants the blob next goes on with the session, at once."""
        await self._renew(0)

    async def release(self) -> None:
        """Whoever wants the blob next begins anew, if it is not here."""
        try:
            await rows.release(self._db, *self.key, self.session)
        except OciError:  # it will end
            log.warn("the lease of a blob that was fetched could not be given back")

    async def _renew(self, seconds: float) -> bool:
        """False if the repo is gone, or nobody fetches into the session any more."""
        try:
            return await rows.renew(self._db, *self.key, self.session, seconds)
        except OciError:
            log.warn("the lease of a blob that is being fetched could not be renewed")
            return True
