"""Fetching blobs from upstreams: once in the fleet, and given to whoever waits while they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
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
from artifactapi.registry.room import Room
from artifactapi.registry.source import Source, told
from artifactapi.registry.uploads import Uploads
from artifactapi.shield import Shared, detached
from artifactapi.upstream.download import Download
from artifactapi.upstream.errors import Broken, NotThere, UpstreamError

LEASE = 20.0
HEARTBEAT = 5.0
"""A replica that says nothing for LEASE seconds has died, and another one goes on."""
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
    """A fetch whose first bytes are on their way: into which session, of which `offset` bytes are here already."""

    session: UUID
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
            session, blob = await self._turn(self._database, key)
            begun = None if session is None else await self._start(source, key, session)
        finally:
            if begun is None:
                room.leave()
        return blob if begun is None else await self._lead(source, key, begun, room)

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

    async def _turn(self, db: Queryable, key: Key) -> tuple[UUID | None, Blob | None]:
        """The session to fetch into, if it is our turn; the blob, if it is there. Raises NameUnknown."""
        name, digest = key
        session = await rows.take(db, name, digest, uuid4(), LEASE)
        # Asked after taking: whoever fetched it until now may just have ended.
        blob = await blob_rows.find(db, name, digest)
        if blob is not None and session is not None:
            await self._release(key, session)
            session = None
        elif blob is None and session is None and await repo_rows.find(db, name.repo) is None:
            raise NameUnknown(f"no repo {name.repo!r}", {"name": str(name)})
        return session, blob

    async def _lead(self, source: Source, key: Key, begun: Begun, room: Room) -> Fill | Blob:
        async def run(fill: Fill | None) -> Blob:
            try:
                return await self._run(source, key, begun, fill)
            finally:
                room.leave()

        size = begun.download.length
        if not size:  # unknown before it is here, or nothing, which is whole at once
            return await run(None)
        return self._filled((source.repo.id, *key), size, run)

    async def _follow(self, source: Source, key: Key, fill: Fill) -> Blob:
        """When another replica has fetched it. If that one is not heard of any more, we go on."""
        patient = Patient(self._database)  # clients have their headers
        while not self._stopped:
            await deferLater(self._reactor, LOOK)
            session, blob = await self._turn(patient, key)
            if blob is not None:
                return blob
            if session is not None:
                return await self._run(source, key, await self._start(source, key, session), fill)
        raise Unavailable("the registry is stopping")

    async def _start(self, source: Source, key: Key, session: UUID) -> Begun:
        """Go on in that session, or begin a new one if it is not there: `_run` follows. Raises UpstreamError."""
        offset = None
        try:
            async with self._heard_of(key, session):
                offset = await self._offset(key, session)
                download = await source.ask(lambda: begin(source, key, offset or 0))
        except BaseException:
            await (self._release if offset is None else self._let_go)(key, session)
            raise
        try:
            into = session if offset is not None else await self._new_session(key)
            await rows.begin(self._database, *key, session, into, download.length)
        except BaseException:
            download.close()
            await (self._release if offset is None else self._let_go)(key, session)
            raise
        return Begun(into, download, offset or 0)

    async def _offset(self, key: Key, session: UUID) -> int | None:
        """How much a replica has left in the session that has died, or could not go on; None if there is none."""
        try:
            return (await self._uploads.status(key[0], session)).offset
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

    async def _run(self, source: Source, key: Key, begun: Begun, fill: Fill | None) -> Blob:
        """Fetch it, and keep it. Raises UpstreamError, OciError."""
        arriving = Arriving(source, key, begun.download, begun.offset, fill, self._reactor)
        self._arriving.add(arriving)
        if self._stopped:
            arriving.stop()
        if fill is not None:
            fill.skip(begun.offset)
        try:
            await self._keep(key, begun.session, arriving, begun.offset)
        finally:
            arriving.close()
            self._arriving.discard(arriving)
        blob = await blob_rows.find(Patient(self._database), *key)
        if blob is None:
            raise BadGateway("the blob was deleted as soon as it was here")
        return blob

    async def _keep(self, key: Key, session: UUID, arriving: Arriving, offset: int) -> None:
        """Fetch it, and let go of it, so that whoever wants it next need not wait until we are taken for dead."""
        try:
            async with self._heard_of(key, session, arriving):
                await self._uploads.finish(key[0], session, key[1], arriving, offset)
        except DigestInvalid:
            await self._release(key, session)
            raise Broken("malformed", "the blob does not have its digest") from None
        except (UploadConflict, RangeInvalid):  # somebody has taken us for dead, and has the session: or the blob
            if await blob_rows.find(Patient(self._database), *key) is None:
                if await self._offset(key, session) is None:  # or nobody has it any more
                    await self._release(key, session)
                raise Unavailable("the blob is fetched by another replica") from None
        except BlobUploadUnknown:  # the store has lost what was kept of it
            await self._forget(key, session)
            raise Unavailable("what was here of the blob is lost") from None
        except ClientGone:
            await self._let_go(key, session)
            raise arriving.error or Broken("cut") from None
        except Exception:
            await self._let_go(key, session)
            raise
        await self._release(key, session)

    @asynccontextmanager
    async def _heard_of(self, key: Key, session: UUID, arriving: Arriving | None = None) -> AsyncIterator[None]:
        """Renew the lease meanwhile. When there is none any more, what is arriving ends."""

        async def renew() -> None:
            if not await self._renew(key, session) and arriving is not None:
                arriving.stop()

        beat = LoopingCall(lambda: Deferred.fromCoroutine(renew()))
        beat.clock = self._reactor
        ended = beat.start(HEARTBEAT, now=False)
        try:
            yield
        finally:
            beat.stop()
            await ended  # a lease that is let go of then is not renewed any more

    async def _renew(self, key: Key, session: UUID, seconds: float = LEASE) -> bool:
        """False if the repo is gone, or nobody fetches into that session any more."""
        try:
            return await rows.renew(self._database, *key, session, seconds)
        except OciError:
            log.warn("the lease of a blob that is being fetched could not be renewed")
            return True

    async def _let_go(self, key: Key, session: UUID) -> None:
        """The session is kept: whoever wants the blob next goes on with it, at once."""
        await self._renew(key, session, 0)

    async def _forget(self, key: Key, session: UUID) -> None:
        """Whoever wants the blob next begins anew."""
        with suppress(OciError):
            await self._uploads.cancel(key[0], session)
        await self._release(key, session)

    async def _release(self, key: Key, session: UUID) -> None:
        try:
            await rows.release(self._database, *key, session)
        except OciError:  # the lease will end
            log.warn("the lease of a blob that was fetched could not be given back")


async def open_blob(store: IObjectStore, blob: Blob, start: int, length: int) -> IObjectReader:
    """A range of a blob that is here. Raises ObjectMissing."""
    if blob.content is not None:
        return BytesReader(blob.content[start : start + length])
    assert blob.key is not None
    return await store.open(blob.key, start, length)
