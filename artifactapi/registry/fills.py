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
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database
from artifactapi.metadata.patient import Patient
from artifactapi.objects.bytes import BytesReader
from artifactapi.objects.interface import IObjectReader, IObjectStore
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import (
    BadGateway,
    BlobUploadUnknown,
    DigestInvalid,
    NameUnknown,
    OciError,
    RangeInvalid,
    Unavailable,
    UploadConflict,
)
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
STOP_SECONDS = 10.0
Key = tuple[ImageName, Digest]
log = Logger()


class Arriving:
    """The rest of a blob from `offset` on, as the body of an upload; a body that breaks is gone on with where it broke.

    An upstream that knows no ranges begins anew: what is here already is passed over.
    """

    def __init__(
        self, source: Source, key: Key, download: Download, offset: int, fill: Fill | None, reactor: Any
    ) -> None:
        self._source = source
        self._key = key
        self._download = download
        self._fill = fill
        self._reactor = reactor
        self._offset = offset
        self._surplus = offset - download.start
        self._tries = TRIES
        self._stopped = False
        self.error: UpstreamError | None = None
        self.length = None if download.length is None else download.length - offset

    async def read(self) -> list[bytes]:
        """The next bytes; [] at the end. Raises ClientGone when the upstream does not go on: what came is kept."""
        while True:
            try:
                came = await self._download.read()
            except UpstreamError as error:
                await self._again(error)
            else:
                pieces = self._beyond(came)
                if pieces or not came:
                    return pieces

    def stop(self) -> None:
        """Go on no more, as if the upstream had gone for good."""
        self._stopped = True
        self._download.close()

    def close(self) -> None:
        """Close the connection."""
        self._download.close()

    def _beyond(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Those that are new."""
        if self._surplus:
            whole = b"".join(pieces)
            pieces = [whole[self._surplus :]] if len(whole) > self._surplus else []
            self._surplus -= min(self._surplus, len(whole))
        if pieces:
            self._tries = TRIES
            self._offset += sum(map(len, pieces))
            if self._fill is not None:
                self._fill.feed(pieces)
        return list(pieces)

    async def _again(self, error: UpstreamError) -> None:
        while self._tries and not self._stopped:
            self._tries -= 1
            try:
                self._download = await begin(self._source, self._key, self._offset)
            except UpstreamError as another:
                error = another
            else:
                self._surplus = self._offset - self._download.start
                if not self._stopped:
                    return
                self._download.close()
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
        self._arriving: set[Arriving] = set()
        self._starting: Shared[Key, Fill | Blob] = Shared()
        self._stopped = False

    async def get(self, source: Source, name: ImageName, digest: Digest) -> Fill | Blob:
        """The blob on its way, or when it is there. Raises UpstreamError, and what the store and the database do."""
        running = self._running.get((name, digest))
        if running is not None:
            return running
        return await self._starting.run((name, digest), lambda: self._begin(source, (name, digest)))

    async def stop(self) -> None:
        """Let others go on with what is being fetched here: what came of it is kept. Takes STOP_SECONDS at most."""
        self._stopped = True
        deadline = self._reactor.seconds() + STOP_SECONDS
        for arriving in list(self._arriving):
            arriving.stop()
        while self._arriving and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, 0.05)

    async def _begin(self, source: Source, key: Key) -> Fill | Blob:
        name, digest = key
        mine = uuid4()
        while not self._stopped:
            session = await rows.take(self._database, name, digest, mine, LEASE)
            # Asked after taking: whoever fetched it until now may just have ended.
            if (blob := await blob_rows.find(self._database, name, digest)) is not None:
                if session is not None:
                    await rows.release(self._database, name, digest, session)
                return blob
            if session is not None:
                return await self._lead(source, key, session)
            if await repo_rows.find(self._database, name.repo) is None:
                raise NameUnknown(f"no repo {name.repo!r}", {"name": str(name)})
            await deferLater(self._reactor, LOOK)
        raise Unavailable("the registry is stopping")

    async def _lead(self, source: Source, key: Key, session: UUID) -> Fill | Blob:
        offset = None
        try:
            offset = await self._offset(key, session)
            download = await source.ask(lambda: begin(source, key, offset or 0))
        except BaseException:
            await (self._release if offset is None else self._let_go)(key, session)
            raise
        try:
            session = session if offset is not None else await self._start(key, session)
        except BaseException:
            download.close()
            raise
        if not download.length:  # unknown before it is here, or nothing, which is whole at once
            return await self._run(source, key, session, download, offset or 0, None)
        fill = self._running[key] = Fill(download.length, self._buffered, self._reactor.seconds)
        fill.skip(offset or 0)
        detached(self._fetch(source, key, session, download, fill))
        return fill

    async def _offset(self, key: Key, session: UUID) -> int | None:
        """How much a replica has left in the session that has died, or could not go on; None if there is none."""
        try:
            return (await self._uploads.status(key[0], session)).offset
        except BlobUploadUnknown:
            return None

    async def _start(self, key: Key, session: UUID) -> UUID:
        """A session to fetch into instead of that one, which is not there."""
        name, digest = key
        new = await self._uploads.start(name, digest.algorithm, repo_type="remote")
        await rows.restart(self._database, name, digest, session, new.id)
        return new.id

    async def _fetch(self, source: Source, key: Key, session: UUID, download: Download, fill: Fill) -> None:
        try:
            blob = await self._run(source, key, session, download, fill.offset, fill)
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

    async def _run(
        self, source: Source, key: Key, session: UUID, download: Download, offset: int, fill: Fill | None
    ) -> Blob:
        """Fetch it, and keep it. Raises UpstreamError, OciError."""
        arriving = Arriving(source, key, download, offset, fill, self._reactor)
        self._arriving.add(arriving)
        if self._stopped:
            arriving.stop()
        beat = LoopingCall(lambda: Deferred.fromCoroutine(self._renew(key, session)))
        beat.clock = self._reactor
        beat.start(HEARTBEAT, now=False)
        try:
            await self._keep(key, session, arriving, offset)
        finally:
            beat.stop()
            arriving.close()
            self._arriving.discard(arriving)
        blob = await blob_rows.find(Patient(self._database), *key)
        if blob is None:
            raise BadGateway("the blob was deleted as soon as it was here")
        return blob

    async def _keep(self, key: Key, session: UUID, arriving: Arriving, offset: int) -> None:
        """Fetch it, and let go of it, so that whoever wants it next need not wait until we are taken for dead."""
        try:
            await self._uploads.finish(key[0], session, key[1], arriving, offset)
        except DigestInvalid:
            await self._release(key, session)
            raise Broken("malformed", "the blob does not have its digest") from None
        except (UploadConflict, RangeInvalid):  # somebody has taken us for dead, and has the session now
            raise Unavailable("the blob is fetched by another replica") from None
        except ClientGone:
            await self._let_go(key, session)
            raise arriving.error or Broken("cut") from None
        except Exception:
            await self._let_go(key, session)
            raise
        await self._release(key, session)

    async def _renew(self, key: Key, session: UUID, seconds: float = LEASE) -> None:
        try:
            await rows.renew(self._database, *key, session, seconds)
        except OciError:
            log.warn("the lease of a blob that is being fetched could not be renewed")

    async def _let_go(self, key: Key, session: UUID) -> None:
        """The session is kept: whoever wants the blob next goes on with it, at once."""
        await self._renew(key, session, 0)

    async def _release(self, key: Key, session: UUID) -> None:
        try:
            await rows.release(self._database, *key, session)
        except OciError:  # the lease will end
            log.warn("the lease of a blob that was fetched could not be given back")


async def begin(source: Source, key: Key, offset: int) -> Download:
    """The blob from `offset` on, or from its first byte: of an upstream that knows no ranges, or if nothing is left.

    Raises UpstreamError.
    """
    name, digest = key
    try:
        return await source.upstream.blob(name.image, digest, offset)
    except Broken as error:
        if error.status != 416 or not offset:
            raise
    return await source.upstream.blob(name.image, digest, 0)


async def open_blob(store: IObjectStore, blob: Blob, start: int, length: int) -> IObjectReader:
    """A range of a blob that is here. Raises ObjectMissing."""
    if blob.content is not None:
        return BytesReader(blob.content[start : start + length])
    assert blob.key is not None
    return await store.open(blob.key, start, length)
