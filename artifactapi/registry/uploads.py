"""Upload sessions: start, append, finish, cancel, status."""

from __future__ import annotations

from collections.abc import Awaitable
from uuid import UUID, uuid4

from twisted.logger import Logger

from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata import uploads as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.patient import Patient
from artifactapi.metadata.uploads import Session
from artifactapi.objects.interface import Committed, IObjectStore, ObjectMissing, Superseded
from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import (
    BlobTooLarge,
    BlobUploadUnknown,
    DigestInvalid,
    NameUnknown,
    OciError,
    RangeInvalid,
    UploadConflict,
)
from artifactapi.oci.hashing import Hasher
from artifactapi.oci.names import ImageName
from artifactapi.registry.intake import Body, ClientGone, Intake, resume
from artifactapi.registry.repos import read_only
from artifactapi.threads import Threads

log = Logger()


class Uploads:
    """The way of a blob into an image. Any replica serves any step: all state is in the session's row."""

    def __init__(self, database: Database, store: IObjectStore, hashing: Threads, largest: int = 0) -> None:
        """`largest`: bytes that a blob may have; 0: any number."""
        self._largest = largest
        self._database = database
        self._store = store
        self._hashing = hashing

    async def start(
        self, name: ImageName, algorithm: str = "sha256", fence: int = 0, repo_type: str = "local"
    ) -> Session:
        """A new session (end-point 4a) in a repo of that type. Raises NameUnknown, Unsupported."""
        key = uuid4()
        session = Session(uuid4(), name, algorithm, f"blobs/{key.hex[:2]}/{key}", fence=fence)
        if not await rows.start(self._database, session, repo_type):
            if await repo_rows.find(self._database, name.repo) is not None:
                raise read_only(name.repo)
            raise NameUnknown(f"no repo {name.repo!r}", {"name": str(name)})
        return session

    async def status(self, name: ImageName, upload_id: UUID) -> Session:
        """The durable truth about a session (end-point 13). Raises BlobUploadUnknown."""
        session = await rows.find(self._database, name, upload_id)
        if session is None:
            raise unknown(upload_id)
        return session

    async def append(self, name: ImageName, upload_id: UUID, body: Body, start: int | None) -> Session:
        """Add a body at offset `start` (None: wherever the session is); end-point 5.

        What arrived before a client hung up is kept. Raises BlobUploadUnknown, RangeInvalid, UploadConflict,
        ClientGone, and BlobTooLarge: such a session is over.
        """
        session = await self._claim(name, upload_id, start)
        return await self._receive(session, body, last=False)

    async def finish(self, name: ImageName, upload_id: UUID, digest: Digest, body: Body, start: int | None) -> None:
        """Add the last bytes and make the whole a blob of the image; end-point 6.

        Raises what `append` does, and DigestInvalid: such a session is over, too.
        """
        session = await self._claim(name, upload_id, start)
        await self._commit(await self._receive(session, body, last=True), digest)

    async def push(self, name: ImageName, digest: Digest, body: Body) -> None:
        """A whole blob in one request; end-point 4b. Raises NameUnknown, DigestInvalid, BlobTooLarge, ClientGone."""
        session = await self.start(name, digest.algorithm, fence=1)
        try:
            await self._commit(await self._receive(session, body, last=True), digest)
        except (OciError, ClientGone):
            # The client never learnt the session's name: nobody could go on with it.
            await self._drop(session)
            raise

    async def cancel(self, name: ImageName, upload_id: UUID) -> None:
        """End a session and forget its bytes; end-point 14. Raises BlobUploadUnknown."""
        session = await rows.cancel(self._database, name, upload_id)
        if session is None:
            raise unknown(upload_id)
        await self._abort(session)

    async def count(self) -> int:
        """Open sessions of all replicas."""
        return await rows.count(self._database)

    async def _claim(self, name: ImageName, upload_id: UUID, start: int | None) -> Session:
        session = await rows.claim(self._database, name, upload_id, start)
        if session is not None:
            return session
        there = await self.status(name, upload_id)
        raise RangeInvalid(
            f"the upload is at byte {there.offset}, not at {start}",
            {"offset": there.offset},
            {"Range": f"0-{max(there.offset - 1, 0)}", "Location": f"/v2/{name}/blobs/uploads/{upload_id}"},
        )

    async def _receive(self, session: Session, body: Body, last: bool) -> Session:
        try:
            self._check_size(session.offset + (body.length or 0))
            return await self._take(session, body, last)
        except BlobTooLarge:
            # No request can make a blob of it any more.
            await self._drop(session)
            raise

    async def _take(self, session: Session, body: Body, last: bool) -> Session:
        intake = Intake(session, self._database, self._store, self._hashing)
        try:
            gone = await self._drain(intake, body)
            session = await intake.settle(last and gone is None)
            # The last bytes of a small blob go straight into its row; all others are recorded before they count.
            if (not last or gone or intake.used_store) and not await rows.advance(Patient(self._database), session):
                raise taken_over()
        except Superseded:
            raise taken_over() from None
        except ObjectMissing as missing:
            raise lost(session, missing) from None
        finally:
            await intake.close()
        if gone:
            raise gone
        return session

    async def _drain(self, intake: Intake, body: Body) -> ClientGone | None:
        try:
            while pieces := await body.read():
                self._check_size(intake.offset + sum(map(len, pieces)))
                await intake.add(pieces)
        except ClientGone as gone:
            return gone
        return None

    def _check_size(self, size: int) -> None:
        if 0 < self._largest < size:
            raise BlobTooLarge(f"a blob has at most {self._largest} bytes")

    async def _commit(self, session: Session, digest: Digest) -> None:
        actual = await self._digest(session, digest.algorithm)
        if actual != digest:
            await self._drop(session)
            raise DigestInvalid("the content does not have this digest", {"digest": str(digest), "actual": str(actual)})
        committed = await self._store_commit(session)
        # Of bytes that are in the row, some may have been on their way to the store already when a replica died.
        leftovers = session.store_state is not None if committed is None else committed.leftovers
        mine = committed.key if committed else None
        key = await rows.finish(self._database, session, digest, mine, leftovers)
        if key is None:
            raise taken_over()
        if mine is not None and key != mine:
            await self._free(self._store.delete([mine]))

    async def _digest(self, session: Session, algorithm: str) -> Digest:
        if session.content is not None:
            return digest_of(session.content, algorithm)
        hasher = resume(session) if algorithm == session.algorithm else None
        return hasher.digest() if hasher else await self._read_again(session, algorithm)

    async def _read_again(self, session: Session, algorithm: str) -> Digest:
        # An algorithm that nobody announced (4c is only a hint): the committed bytes are read once more.
        committed = await self._store_commit(session)
        assert committed is not None
        hasher = Hasher(algorithm)
        reader = await self._store.open(committed.key, 0, session.offset)
        try:
            while data := await reader.read():
                await self._hashing.run(hasher.update, data)
        finally:
            reader.close()
        return hasher.digest()

    async def _store_commit(self, session: Session) -> Committed | None:
        """Its object; None if it needs none."""
        if session.content is not None:
            return None
        try:
            return await self._store.commit(session.key, session.store_state or {}, session.fence)
        except Superseded:
            raise taken_over() from None
        except ObjectMissing as missing:
            raise lost(session, missing) from None

    async def _drop(self, session: Session) -> None:
        dropped = await rows.cancel(self._database, session.name, session.id, session.fence)
        if dropped is not None:
            await self._abort(dropped)

    async def _abort(self, session: Session) -> None:
        if session.store_state is not None:
            await self._free(self._store.abort(session.key, None))

    async def _free(self, deleting: Awaitable[object]) -> None:
        """Free bytes now. Their key stays in the outbox for a while: see the schema."""
        try:
            await deleting
        except OciError:
            log.failure("an object that nobody names could not be deleted yet")


def unknown(upload_id: UUID) -> BlobUploadUnknown:
    """The error for a session that is not there."""
    return BlobUploadUnknown("no such upload", {"upload": str(upload_id)})


def lost(session: Session, missing: ObjectMissing) -> BlobUploadUnknown:
    """The error for a session whose staged bytes are gone, which somebody should look into."""
    log.error("the staged bytes of upload {id} are gone: {missing}", id=session.id, missing=missing)
    return unknown(session.id)


def taken_over() -> UploadConflict:
    """The error for a writer that is no longer the session's."""
    return UploadConflict("another request has taken over this upload, or completed it")
