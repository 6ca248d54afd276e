"""Fetching blobs from upstreams: once in the fleet, and given to whoever waits while they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from twisted.internet.task import deferLater
from twisted.logger import Logger

from artifactapi.metadata import blobs as blob_rows
from artifactapi.metadata import fills as rows
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata.blobs import Blob, Key
from artifactapi.metadata.database import Database, Queryable
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
from artifactapi.registry import absent
from artifactapi.registry.arriving import Arriving, begin
from artifactapi.registry.fill import Buffered, Fill
from artifactapi.registry.intake import ClientGone
from artifactapi.registry.lease import SECONDS, Lease
from artifactapi.registry.room import Room
from artifactapi.registry.source import Source, told
from artifactapi.registry.uploads import Uploads
from artifactapi.shield import Shared, detached
from artifactapi.upstream.download import Download
from artifactapi.upstream.errors import Broken, NotThere, UpstreamError

LOOK = 0.3
"""Seconds between two looks at what another replica fetches."""
STOP_SECONDS = 10.0
MOST = 100
"""Blobs of a repo that one process fetches at once; more wait, since whoever asks for one need not stay to read it.
Others' do not: an upstream that hangs holds up nobody but its own, nor one that is fetched from through us."""
Running = tuple[int, ImageName, Digest]
"""The id of a repo, since another one may have had its name, and what is fetched."""
log = Logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """A fetch whose first bytes are on their way; `offset` bytes are here already."""

    lease: Lease
    download: Download
    offset: int


class Fills:
    """Blobs that are being fetched by this process, and those that others fetch."""

    def __init__(self, database: Database, store: IObjectStore, uploads: Uploads, reactor: Any) -> None:
        self._database = database
        self._store = store
        self._uploads = uploads
        self._reactor = reactor
        self._buffered = Buffered()
        self._running: dict[Running, Fill] = {}
        self._arriving: set[Arriving] = set()
        self._starting: Shared[Running, Fill | Blob] = Shared()
        self._rooms: defaultdict[int, Room] = defaultdict(lambda: Room(MOST))
        self._stopped = False

    async def get(self, source: Source, name: ImageName, digest: Digest) -> Fill | Blob:
        """The blob on its way, or when it is there. Raises UpstreamError, and what the store and the database do."""
        return self.running(source, name, digest) or await self._starting.run(
            (source.repo.id, name, digest), lambda: self._begin(source, (name, digest))
        )

    def running(self, source: Source, name: ImageName, digest: Digest) -> Fill | None:
        """The blob on its way, if somebody waits for it here; not one of a repo that had this name before."""
        return self._running.get((source.repo.id, name, digest))

    async def stop(self) -> None:
        """Let others go on with what is being fetched here: what came of it is kept. Takes STOP_SECONDS at most."""
        self._stopped = True
        deadline = self._reactor.seconds() + STOP_SECONDS
        for arriving in list(self._arriving):
            arriving.stop()
        for room in self._rooms.values():
            room.open()
        while self._arriving and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, 0.05)

    async def _begin(self, source: Source, key: Key) -> Fill | Blob:
        await self._link(source, key)
        room = self._rooms[source.repo.id]
        while not self._stopped:
            found = await self._there(source, key) if room.is_full else None
            found = found or await self._in(room, source, key) or await self._there(source, key)
            if found is not None:
                return found
            await deferLater(self._reactor, LOOK)
        raise Unavailable("the registry is stopping")

    async def _there(self, source: Source, key: Key) -> Fill | Blob | None:
        """What needs no room: the blob that is here, or that another replica fetches."""
        if blob := await blob_rows.find(self._database, *key):
            return blob
        if size := await rows.size(self._database, *key):
            return self._filled((source.repo.id, *key), size, lambda fill: self._follow(source, key, fill))
        return None

    async def _in(self, room: Room, source: Source, key: Key) -> Fill | Blob | None:
        """The blob on its way, if it is our turn to fetch it; or when it is there."""
        await room.enter()
        begun = None
        try:
            if self._stopped:
                return None
            lease, blob = await self._turn(self._database, key)
            begun = None if lease is None else await self._start(source, lease)
        finally:
            if begun is None:
                room.leave()
        return blob if begun is None else await self._lead(source, begun, room)

    async def _link(self, source: Source, key: Key) -> None:
        """Share it with another image of the repo that has it, if the upstream says that this one has it too."""
        name, digest = key
        here = await blob_rows.size_in(self._database, name.repo, digest)
        if here is None:
            return
        with suppress(UpstreamError):  # which may say more when it is asked for the blob itself
            # The size too: some say 200 to every HEAD.
            if await source.ask(lambda: source.upstream.size(name.image, digest)) == here:
                await blob_rows.mount(self._database, name, digest, None, (((name.repo, "*"),),), "remote")

    async def _turn(self, db: Queryable, key: Key) -> tuple[Lease | None, Blob | None]:
        """The lease, if it is our turn; the blob, if it is there. Raises NameUnknown."""
        name, digest = key
        session = await rows.take(db, name, digest, uuid4(), SECONDS)
        lease = None if session is None else Lease(self._database, self._reactor, key, session)
        # Asked after taking: whoever fetched it until now may just have ended.
        blob = await blob_rows.find(db, name, digest)
        if blob is not None and lease is not None:
            await lease.release()
            lease = None
        elif blob is None and lease is None:
            await require(db, name)
        return lease, blob

    async def _lead(self, source: Source, begun: Begun, room: Room) -> Fill | Blob:
        async def run(fill: Fill | None) -> Blob:
            try:
                return await self._run(source, begun, fill)
            finally:
                room.leave()

        size = begun.download.length
        if not size:  # unknown before it is here, or nothing, which is whole at once
            return await run(None)
        return self._filled((source.repo.id, *begun.lease.key), size, run)

    async def _follow(self, source: Source, key: Key, fill: Fill) -> Blob:
        """When another replica has fetched it. If that one is not heard of any more, we go on."""
        patient = Patient(self._database)  # clients have their headers
        while not self._stopped:
            await deferLater(self._reactor, LOOK)
            lease, blob = await self._turn(patient, key)
            if blob is not None:
                return blob
            if lease is not None:
                return await self._run(source, await self._start(source, lease), fill)
        raise Unavailable("the registry is stopping")

    async def _start(self, source: Source, lease: Lease) -> Begun:
        """Go on in the lease's session, or begin a new one if it is not there: `_run` follows. Raises UpstreamError."""
        offset = None
        try:
            async with lease.held():
                offset = await self._offset(lease)
                download = await source.ask(lambda: begin(source, lease.key, offset or 0))
        except BaseException:
            await (lease.release if offset is None else lease.let_go)()
            raise
        try:
            session = lease.session if offset is not None else await self._new_session(lease.key)
            await lease.begin(session, download.length)
        except BaseException:
            download.close()
            await (lease.release if offset is None else lease.let_go)()
            raise
        return Begun(lease, download, offset or 0)

    async def _offset(self, lease: Lease) -> int | None:
        """How much a replica has left in the session that has died, or could not go on; None if there is none."""
        try:
            return (await self._uploads.status(lease.key[0], lease.session)).offset
        except BlobUploadUnknown:
            return None

    async def _new_session(self, key: Key) -> UUID:
        name, digest = key
        return (await self._uploads.start(name, digest.algorithm, repo_type="remote")).id

    def _filled(self, key: Running, size: int, work: Callable[[Fill], Coroutine[Any, Any, Blob]]) -> Fill:
        """One of `size` bytes, which are there when `work` is done."""
        fill = self._running[key] = Fill(size, self._buffered, self._reactor)
        detached(self._end(key, fill, work(fill)))
        return fill

    async def _end(self, key: Running, fill: Fill, work: Coroutine[Any, Any, Blob]) -> None:
        try:
            blob = await work
        except OciError as error:
            fill.fail(error)
        except NotThere:
            fill.fail(absent.blob(key[2]))
        except UpstreamError as error:
            fill.fail(told(error))
        except Exception:
            log.failure("a blob could not be fetched")
            fill.fail(BadGateway("the blob could not be fetched"))
        else:
            fill.complete(lambda start, length: open_blob(self._store, blob, start, length))
        finally:
            self._running.pop(key, None)

    async def _run(self, source: Source, begun: Begun, fill: Fill | None) -> Blob:
        """Fetch it, and keep it. Raises UpstreamError, OciError."""
        key = begun.lease.key
        arriving = Arriving(source, key, begun.download, begun.offset, fill, self._reactor)
        self._arriving.add(arriving)
        if self._stopped:
            arriving.stop()
        if fill is not None:
            fill.skip(begun.offset)
        try:
            await self._keep(begun.lease, arriving, begun.offset)
        finally:
            arriving.close()
            self._arriving.discard(arriving)
        blob = await blob_rows.find(Patient(self._database), *key)
        if blob is None:
            raise BadGateway("the blob was deleted as soon as it was here")
        return blob

    async def _keep(self, lease: Lease, arriving: Arriving, offset: int) -> None:
        """Fetch it, and let go of it, so that whoever wants it next need not wait until we are taken for dead."""
        name, digest = lease.key
        try:
            async with lease.held(lost=arriving.stop):
                await self._uploads.finish(name, lease.session, digest, arriving, offset)
        except DigestInvalid:
            await lease.release()
            raise Broken("malformed", "the blob does not have its digest") from None
        except (UploadConflict, RangeInvalid):  # somebody has taken us for dead, and has the session: or the blob
            if await blob_rows.find(Patient(self._database), name, digest) is None:
                if await self._offset(lease) is None:  # or nobody has it any more
                    await lease.release()
                await require(self._database, name)
                raise Unavailable("the blob is fetched by another replica") from None
        except BlobUploadUnknown:  # the store has lost what was kept of it
            await self._forget(lease)
            await require(self._database, name)
            raise Unavailable("what was here of the blob is lost") from None
        except ClientGone:
            await lease.let_go()
            raise arriving.error or Broken("cut") from None
        except Exception:
            await lease.let_go()
            raise
        await lease.release()

    async def _forget(self, lease: Lease) -> None:
        """Whoever wants the blob next begins anew."""
        with suppress(OciError):
            await self._uploads.cancel(lease.key[0], lease.session)
        await lease.release()


async def require(db: Queryable, name: ImageName) -> None:
    """The image's repo is there. Raises NameUnknown."""
    if await repo_rows.find(db, name.repo) is None:
        raise NameUnknown(f"no repo {name.repo!r}", {"name": str(name)})


async def open_blob(store: IObjectStore, blob: Blob, start: int, length: int) -> IObjectReader:
    """A range of a blob that is here. Raises ObjectMissing."""
    if blob.content is not None:
        return BytesReader(blob.content[start : start + length])
    assert blob.key is not None
    return await store.open(blob.key, start, length)
