"""Objects as files of one directory tree.

objects/blobs/ab/<uuid>      a committed object under its key
staging/<uuid>/<fence>       an unfinished one; the file's name says who may write it
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from twisted.logger import Logger
from zope.interface import implementer

from artifactapi.objects.files import FileReader, FileWriter, fsync_directory, guarded, locked, make_directory
from artifactapi.objects.interface import Checkpoint, Committed, IObjectStore, ObjectMissing, State, Superseded
from artifactapi.threads import Threads

TRIES = 8  # to take a staged file that others are taking at the same time
log = Logger()


@implementer(IObjectStore)
class FilesystemStore:
    """Objects in a directory of this machine. Several processes may share it, NFS excepted."""

    def __init__(self, directory: Path, threads: Threads) -> None:
        self._objects = directory / "objects"
        self._staging = directory / "staging"
        self._threads = threads

    async def start(self) -> None:
        """Make the directories. Raises Unavailable or StoreFull."""
        await self._threads.run(guarded, self._prepare)

    async def check(self) -> None:
        """Write a file that has no name: nothing is left, and those who ask at once are not in each other's way."""
        await self._threads.run(guarded, self._probe)

    def is_sealed(self, state: State) -> bool:
        """Always: a staged file can be renamed at any time."""
        return True

    async def writer(self, key: str, state: State, fence: int, checkpoint: Checkpoint) -> FileWriter:
        """Take the staged file over, cut to its durable length."""
        descriptor, path = await self._threads.run(guarded, self._take, key, state, fence)
        return FileWriter(descriptor, path, state.get("length", 0), self._threads)

    async def commit(self, key: str, state: State, fence: int) -> Committed:
        """Rename the staged file to its key: no byte is copied."""
        await self._threads.run(guarded, self._commit, key, state, fence)
        return Committed(key)

    async def open(self, key: str, start: int, length: int) -> FileReader:
        """Open the file."""
        descriptor = await self._threads.run(guarded, self._open, key)
        return FileReader(descriptor, start, length, self._threads)

    async def size(self, key: str) -> int | None:
        """Of the file."""
        return await self._threads.run(guarded, self._size, key)

    async def keys(self, after: str) -> list[str]:
        """Those of one directory at a time."""
        return await self._threads.run(guarded, self._keys, after)

    async def url(self, key: str, seconds: int) -> str | None:
        """None: files are served by the daemon."""
        return None

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """Unlink the files."""
        return await self._threads.run(self._delete, keys)

    async def abort(self, key: str, keep: str | None) -> None:
        """Unlink the staged file, and the committed one."""
        await self._threads.run(guarded, self._discard, key)
        if key != keep:
            await self._threads.run(guarded, self._final(key).unlink, missing_ok=True)

    def _prepare(self) -> None:
        make_directory(self._objects)
        make_directory(self._staging)

    def _probe(self) -> None:
        with TemporaryFile(dir=self._staging) as file:
            file.write(b"artifactapi")

    def _final(self, key: str) -> Path:
        return self._objects / key

    def _staged(self, key: str) -> Path:
        return self._staging / key.rpartition("/")[2]

    def _take(self, key: str, state: State, fence: int) -> tuple[int, Path]:
        mine = self._staged(key) / f"{fence:020d}"
        for _ in range(TRIES):
            with suppress(FileNotFoundError):  # somebody else took it, or ended it, since: look again
                current = self._current(key)
                if current is None:
                    return self._create(key, state, mine), mine
                return self._take_over(current, mine, state.get("length", 0)), mine
        raise Superseded

    def _current(self, key: str) -> Path | None:
        directory = self._staged(key)
        with suppress(FileNotFoundError):
            return max(directory.iterdir(), default=None)
        return None

    def _create(self, key: str, state: State, mine: Path) -> int:
        self._refuse_committed(key)
        if state.get("length"):
            raise ObjectMissing(key)
        make_directory(mine.parent)
        descriptor = os.open(mine, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            self._refuse_committed(key)  # again: a commit in between found no file to discard
        except Superseded:
            os.close(descriptor)
            self._discard(key)
            raise
        return descriptor

    def _refuse_committed(self, key: str) -> None:
        # A committed object is never staged again: whoever comes so late has lost the session.
        if self._final(key).exists():
            raise Superseded

    def _take_over(self, current: Path, mine: Path, length: int) -> int:
        descriptor = os.open(current, os.O_RDWR)
        try:
            with locked(descriptor):
                if current > mine:
                    raise Superseded
                current.rename(mine)
                if os.fstat(descriptor).st_size < length:
                    raise ObjectMissing(f"{mine.parent.name}: shorter than its row says")
                os.ftruncate(descriptor, length)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _commit(self, key: str, state: State, fence: int) -> None:
        final = self._final(key)
        if not final.exists():
            self._rename(key, state, fence, final)
        # Whoever renamed it earlier may have crashed before these.
        fsync_directory(final.parent)
        self._discard(key)

    def _rename(self, key: str, state: State, fence: int, final: Path) -> None:
        descriptor, staged = self._take(key, state, fence)
        try:
            os.fsync(descriptor)
            make_directory(final.parent)
            with locked(descriptor):
                if not staged.exists():
                    raise Superseded
                staged.rename(final)
        finally:
            os.close(descriptor)

    def _discard(self, key: str) -> None:
        directory = self._staged(key)
        with suppress(FileNotFoundError):
            for path in directory.iterdir():
                path.unlink(missing_ok=True)
            try:
                directory.rmdir()
            except OSError as error:  # a writer that has lost, and does not know yet, has just begun
                if error.errno != errno.ENOTEMPTY:
                    raise

    def _size(self, key: str) -> int | None:
        try:
            return self._final(key).stat().st_size
        except FileNotFoundError:
            return None

    def _keys(self, after: str) -> list[str]:
        """Keys are blobs/<first two letters>/<uuid>, and staging/<uuid> is of one of them."""
        staged = [f"blobs/{name[:2]}/{name}" for name in os.listdir(self._staging)]
        folders = {f"blobs/{path.name}" for path in (self._objects / "blobs").glob("*")}
        folders |= {key.rpartition("/")[0] for key in staged}
        for folder in sorted(folders):
            if found := self._keys_in(folder, staged, after):
                return found
        return []

    def _keys_in(self, folder: str, staged: Sequence[str], after: str) -> list[str]:
        found = {key for key in staged if key.startswith(f"{folder}/")}
        with suppress(FileNotFoundError):
            found |= {f"{folder}/{name}" for name in os.listdir(self._objects / folder)}
        return sorted(key for key in found if key > after)

    def _open(self, key: str) -> int:
        try:
            return os.open(self._final(key), os.O_RDONLY)
        except FileNotFoundError:
            raise ObjectMissing(key) from None

    def _delete(self, keys: Sequence[str]) -> frozenset[str]:
        stuck = set()
        for key in keys:
            try:
                self._final(key).unlink(missing_ok=True)
            except OSError as error:
                log.error("{key} cannot be deleted: {error}", key=key, error=os.strerror(error.errno or 0))
                stuck.add(key)
        return frozenset(stuck)
