"""Fetching blobs from upstreams: once in the fleet, and given to whoever waits while they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from artifactapi.metadata import blobs as blob_rows
from artifactapi.metadata import fills as rows
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database
from artifactapi.objects.bytes import BytesReader
from artifactapi.objects.interface import IObjectReader, IObjectStore
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import BadGateway, BlobUploadUnknown, DigestInvalid, OciError
from artifactapi.oci.names import ImageName
from artifactapi.registry.fill import Buffered, Fill
from artifactapi.registry.intake import ClientGone
from artifactapi.registry.uploads import Uploads
from artifactapi.registry.upstreams import Source, told
from artifactapi.shield import Shared, detached
from artifactapi.upstream.download import Download
from artifactapi.upstream.errors import Broken, UpstreamError

LEASE = 20.0
HEARTBEAT = 5.0
"""A replica that says nothing for LEASE seconds has died, and another one goes on."""
LOOK = 0.3
"""Seconds between two looks at what another replica fetches."""
TRIES = 5
"""How often a body that breaks is gone on with, without a byte in between."""
PAUSE = 1.0
Key = tuple[ImageName, Digest]
log = Logger()


class Arriving:
    """The rest of a blob, as the body of an upload; a body that breaks is gone on with where it broke."""

    def __init__(self, source: Source, key: Key, download: Download, fill: Fill | None, reactor: Any) -> None:
        self._source = source
        self._key = key
        self._download = download
        self._fill = fill
        self._reactor = reactor
        self._offset = download.start
        self._tries = TRIES
        self.error: UpstreamError | None = None
        self.length = None if download.length is None else download.length - download.start

    async def read(self) -> list[bytes]:
        """The next bytes; [] at the end. Raises ClientGone when the upstream does not go on: what came is kept."""
        while True:
            try:
                pieces = await self._download.read()
            except UpstreamError as error:
                await self._again(error)
            else:
                self._came(pieces)
                return pieces

    def _came(self, pieces: Sequence[bytes]) -> None:
        if pieces:
            self._tries = TRIES
            self._offset += sum(map(len, pieces))
            if self._fill is not None:
                self._fill.feed(pieces)

    async def _again(self, error: UpstreamError) -> None:
        name, digest = self._key
        while self._tries:
            self._tries -= 1
            try:
                self._download = await self._source.upstream.blob(name.image, digest, self._offset)
            except UpstreamError as another:
                error = another
            else:
                if self._download.start == self._offset:
                    return
                self._download.close()
                error = Broken("malformed", "it cannot go on where it broke off")
                self._tries = 0
            await deferLater(self._reactor, PAUSE)
        self.error = error
        raise ClientGone


class Fills:
    """Blobs that are being fetched by this process, and those that others fetch."""

    def __init__(self, database: Database, store: IObjectStore, uploads: Uploads, reactor: Any) -> None:
        self._database = database
        self._store = store
        self._uploads = uploads
        self._reactor = reactor
        self._buffered = Buffered()
        self._running: dict[Key, Fill] = {}
        self._starting: Shared[Key, Fill | Blob] = Shared()

    async def get(self, source: Source, name: ImageName, digest: Digest) -> Fill | Blob:
        """The blob on its way, or when it is there. Raises UpstreamError, and what the store and the database do."""
        running = self._running.get((name, digest))
        if running is not None:
            return running
        return await self._starting.run((name, digest), lambda: self._begin(source, (name, digest)))

    async def _begin(self, source: Source, key: Key) -> Fill | Blob:
        name, digest = key
        mine = uuid4()
        while True:
            session = await rows.take(self._database, name, digest, mine, LEASE)
            # Asked after taking: whoever fetched it until now may just have ended.
            if (blob := await blob_rows.find(self._database, name, digest)) is not None:
                if session is not None:
                    await rows.release(self._database, name, digest, session)
                return blob
            if session is not None:
                return await self._lead(source, key, session)
            await deferLater(self._reactor, LOOK)

    async def _lead(self, source: Source, key: Key, session: UUID) -> Fill | Blob:
        try:
            session, offset = await self._session(key, session)
            download = await source.upstream.blob(key[0].image, key[1], offset)
            if download.start != offset:  # it knows no ranges: from the first byte on, then
                session = await self._restart(key, session)
        except BaseException:
            await rows.release(self._database, *key, session)
            raise
        if download.length is None:  # nobody can be told how long it is before it is here
            return await self._run(source, key, session, download, None)
        fill = self._running[key] = Fill(download.length, self._buffered)
        fill.skip(download.start)
        detached(self._fetch(source, key, session, download, fill))
        return fill

    async def _session(self, key: Key, session: UUID) -> tuple[UUID, int]:
        """The session to go on with, and from where: that of a replica that died, or a new one."""
        name, digest = key
        try:
            return session, (await self._uploads.status(name, session)).offset
        except BlobUploadUnknown:
            new = await self._uploads.start(name, digest.algorithm, repo_type="remote")
            await rows.restart(self._database, name, digest, session, new.id)
            return new.id, 0

    async def _restart(self, key: Key, session: UUID) -> UUID:
        name, digest = key
        new = await self._uploads.start(name, digest.algorithm, repo_type="remote")
        await rows.restart(self._database, name, digest, session, new.id)
        await self._uploads.cancel(name, session)
        return new.id

    async def _fetch(self, source: Source, key: Key, session: UUID, download: Download, fill: Fill) -> None:
        try:
            blob = await self._run(source, key, session, download, fill)
        except OciError as error:
            fill.fail(error)
        except UpstreamError as error:
            fill.fail(told(error))
        except Exception:
            log.failure("a blob could not be fetched")
            fill.fail(BadGateway("the blob could not be fetched"))
        else:
            fill.complete(lambda start, length: open_blob(self._store, blob, start, length))
        finally:
            self._running.pop(key, None)

    async def _run(self, source: Source, key: Key, session: UUID, download: Download, fill: Fill | None) -> Blob:
        """Fetch it, and keep it. Raises UpstreamError, OciError."""
        name, digest = key
        arriving = Arriving(source, key, download, fill, self._reactor)
        beat = LoopingCall(lambda: Deferred.fromCoroutine(self._renew(key, session)))
        beat.clock = self._reactor
        beat.start(HEARTBEAT, now=False)
        try:
            await self._uploads.finish(name, session, digest, arriving, download.start)
        except ClientGone:
            # The session is kept: whoever wants the blob next goes on with it.
            await rows.renew(self._database, name, digest, session, 0)
            raise arriving.error or Broken("cut") from None
        except DigestInvalid:
            await rows.release(self._database, name, digest, session)
            raise Broken("malformed", "the blob does not have its digest") from None
        finally:
            beat.stop()
            download.close()
        await rows.release(self._database, name, digest, session)
        blob = await blob_rows.find(self._database, name, digest)
        if blob is None:
            raise BadGateway("the blob was deleted as soon as it was here")
        return blob

    async def _renew(self, key: Key, session: UUID) -> None:
        try:
            await rows.renew(self._database, *key, session, LEASE)
        except OciError:
            log.warn("the lease of a blob that is being fetched could not be renewed")


async def open_blob(store: IObjectStore, blob: Blob, start: int, length: int) -> IObjectReader:
    """A range of a blob that is here. Raises ObjectMissing."""
    if blob.content is not None:
        return BytesReader(blob.content[start : start + length])
    assert blob.key is not None
    return await store.open(blob.key, start, length)
