"""The bytes of one request on their way into an upload session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from artifactapi.metadata import uploads as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.patient import Patient
from artifactapi.metadata.uploads import Session
from artifactapi.objects.interface import IObjectStore, IObjectWriter, State, Superseded
from artifactapi.oci.errors import UploadConflict
from artifactapi.oci.hashing import Hasher
from artifactapi.shield import together
from artifactapi.threads import Threads

INLINE = 64 * 1024
"""Bytes up to which a blob stays in its row: image configs, signatures, small artifacts."""


class ClientGone(Exception):
    """The client hung up, or its connection broke, before the body's end."""


class Body(Protocol):
    """A request's body as it arrives; `length` is the number of bytes that were announced, None if it was not."""

    length: int | None

    async def read(self) -> list[bytes]:
        """What has come since the last call, at least one byte; [] at the end. Raises ClientGone."""
        ...


class Intake:
    """Hashes and stores bytes in threads while the next arrive.

    The first INLINE bytes of a session are kept in its row; beyond, they go to the store. The row follows when the
    store says that bytes have become durable, and with what `settle` returns. `offset` counts those that are not yet
    durable too.
    """

    def __init__(self, session: Session, database: Database, store: IObjectStore, hashing: Threads) -> None:
        self._session = session
        self._database = database
        self._store = store
        self._hashing = hashing
        self.offset = session.offset
        self._content = session.content
        self._writer: IObjectWriter | None = None
        self._hasher: Hasher | None = None
        # The hash at the places where a checkpoint may be, by the number of bytes before them.
        self._marks: dict[int, bytes] = {}
        self._written = 0

    @property
    def used_store(self) -> bool:
        """Whether bytes of this request went to the store."""
        return self._writer is not None

    async def add(self, pieces: Sequence[bytes]) -> None:
        """Take these bytes; returns when the next may come."""
        self.offset += sum(map(len, pieces))
        if self._content is not None and self.offset <= INLINE:
            self._content = b"".join((self._content, *pieces))
        elif self._writer is None:
            await self._begin(pieces)
        else:
            await self._write(self._writer, pieces)

    async def settle(self, last: bool) -> Session:
        """Make the bytes durable; returns the session that describes them, to be written to its row."""
        if self._writer is None and self._must_settle():
            await self._open()
        if self._writer is None:
            return replace(self._session, offset=self.offset, content=self._content)
        state = await self._writer.settle(last)
        hash_state = self._hasher.export() if self._hasher else None
        return replace(self._session, offset=self.offset, content=None, hash_state=hash_state, store_state=state)

    async def close(self) -> None:
        """Free what is held, whatever happened."""
        if self._writer is not None:
            await self._writer.close()

    def _must_settle(self) -> bool:
        """Whether the store has to do something although no byte came."""
        session = self._session
        return self._content is None and not self._store.is_sealed(session.store_state or {})

    async def _begin(self, pieces: Sequence[bytes]) -> None:
        if self._session.store_state is None:
            # The row knows of the object before its first byte is written: a crash leaves nothing unknown.
            self._session = replace(self._session, store_state={})
            if not await rows.advance(self._database, self._session):
                raise UploadConflict("another request has taken over this upload")
        writer = await self._open()
        first = [self._content, *pieces] if self._content else pieces
        self._content = None
        await self._write(writer, first)

    async def _open(self) -> IObjectWriter:
        session = self._session
        self._hasher = resume(session)
        self._written = session.offset if session.content is None else 0
        writer = await self._store.writer(session.key, session.store_state or {}, session.fence, self._checkpoint)
        self._writer = writer
        return writer

    async def _write(self, writer: IObjectWriter, pieces: Sequence[bytes]) -> None:
        while pieces:
            now, pieces = cut(pieces, writer.room)
            if writer.room is None:
                await together(writer.write(now), self._hash(now))
            else:
                await self._hash(now)
                self._mark(now)  # before a checkpoint can ask for it
                await writer.write(now)

    async def _hash(self, pieces: Sequence[bytes]) -> None:
        if self._hasher is not None:
            await self._hashing.run(update, self._hasher, pieces)

    def _mark(self, pieces: Sequence[bytes]) -> None:
        self._written += sum(map(len, pieces))
        if self._hasher is not None:
            self._marks[self._written] = self._hasher.export()

    async def _checkpoint(self, state: State, length: int) -> None:
        """Let the row follow the bytes that are durable by now. Raises Superseded."""
        hash_state = self._marks.pop(length, None)
        self._marks = {at: mark for at, mark in self._marks.items() if at > length}
        durable = replace(self._session, offset=length, content=None, hash_state=hash_state, store_state=state)
        if not await rows.advance(Patient(self._database), durable):
            raise Superseded


def cut(pieces: Sequence[bytes], size: int | None) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The first `size` bytes (None: all), and the rest."""
    if size is None:
        return pieces, ()
    for number, piece in enumerate(pieces):
        if size <= len(piece):
            rest = [piece[size:], *pieces[number + 1 :]] if size < len(piece) else pieces[number + 1 :]
            return [*pieces[:number], piece[:size]], rest
        size -= len(piece)
    return pieces, ()


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
