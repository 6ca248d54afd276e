"""The bytes of one request on their way into an upload session."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from artifactapi.metadata import uploads as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.uploads import Session
from artifactapi.objects.interface import IObjectStore, IObjectWriter
from artifactapi.oci.errors import UploadConflict
from artifactapi.oci.hashing import Hasher
from artifactapi.threads import Threads

INLINE = 64 * 1024
"""Bytes up to which a blob stays in its row: image configs, signatures, small artifacts."""


class ClientGone(Exception):
    """The client hung up, or its connection broke, before the body's end."""


class Body(Protocol):
    """A request's body as it arrives."""

    async def read(self) -> list[bytes]:
        """What has come since the last call, at least one byte; [] at the end. Raises ClientGone."""
        ...


class Intake:
    """Hashes and stores bytes in threads while the next arrive.

    The first INLINE bytes of a session are kept in its row; beyond, they go to the store. Nothing is durable
    before `settle` has returned and its session was written to the row.
    """

    def __init__(self, session: Session, database: Database, store: IObjectStore, hashing: Threads) -> None:
        self._session = session
        self._database = database
        self._store = store
        self._hashing = hashing
        self._offset = session.offset
        self._content = session.content
        self._writer: IObjectWriter | None = None
        self._hasher: Hasher | None = None

    @property
    def used_store(self) -> bool:
        """Whether bytes of this request went to the store."""
        return self._writer is not None

    async def add(self, pieces: Sequence[bytes]) -> None:
        """Take these bytes; returns when the next may come."""
        self._offset += sum(map(len, pieces))
        if self._content is not None and self._offset <= INLINE:
            self._content = b"".join((self._content, *pieces))
        elif self._writer is None:
            await self._begin(pieces)
        else:
            await self._write(self._writer, pieces)

    async def settle(self) -> Session:
        """Make the bytes durable; returns the session that describes them, to be written to its row."""
        if self._writer is None:
            return replace(self._session, offset=self._offset, content=self._content)
        state = await self._writer.settle()
        hash_state = self._hasher.export() if self._hasher else None
        return replace(self._session, offset=self._offset, content=None, hash_state=hash_state, store_state=state)

    async def close(self) -> None:
        """Free what is held, whatever happened."""
        if self._writer is not None:
            await self._writer.close()

    async def _begin(self, pieces: Sequence[bytes]) -> None:
        state = self._session.store_state
        if state is None:
            state = {}
            # The row knows of the object before its first byte is written: a crash leaves nothing unknown.
            self._session = replace(self._session, store_state=state)
            if not await rows.advance(self._database, self._session):
                raise UploadConflict("another request has taken over this upload")
        writer = self._writer = await self._store.writer(self._session.key, state, self._session.fence)
        self._hasher = resume(self._session)
        first = [self._content, *pieces] if self._content else pieces
        self._content = None
        await self._write(writer, first)

    async def _write(self, writer: IObjectWriter, pieces: Sequence[bytes]) -> None:
        work: list[Coroutine[Any, Any, None]] = [writer.write(pieces)]
        if self._hasher is not None:
            work.append(self._hashing.run(update, self._hasher, pieces))
        done = await DeferredList([Deferred.fromCoroutine(w) for w in work], consumeErrors=True)
        for _, result in done:
            if isinstance(result, Failure):
                result.raiseException()


def resume(session: Session) -> Hasher | None:
    """The hash of the session's bytes in the store so far; None if it was not kept, and they must be read again."""
    if session.content is not None:
        return Hasher(session.algorithm)
    try:
        return Hasher.restore(session.algorithm, session.hash_state) if session.hash_state else None
    except ValueError:  # another release's, or this machine has no libcrypto to go on with
        return None


def update(hasher: Hasher, pieces: Sequence[bytes]) -> None:
    """Hash these bytes. For a thread."""
    for piece in pieces:
        hasher.update(piece)
