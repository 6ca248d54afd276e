"""Files as readers and writers, and the calls to the operating system that make them durable."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from zope.interface import implementer

from artifactapi.objects.interface import IObjectReader, IObjectWriter, State, Superseded
from artifactapi.oci.errors import StoreFull, Unavailable
from artifactapi.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

READ = 256 * 1024
IOV_MAX = 512  # pieces in one pwritev; Linux takes 1,024
WRITEBACK = 16 * 1024 * 1024  # bytes after which the kernel is asked to begin
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def os_errors() -> Iterator[None]:
    """Tell a full disk from a broken one; a client gets neither path nor traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull("the registry's disk is full") from error
        raise Unavailable(f"the registry's storage fails: {os.strerror(error.errno or 0)}") from error


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold the file's lock: writers and take-overs meet here, whichever process they are in."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """A directory whose own name is durable; parents too."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        fsync_directory(path.parent)


@implementer(IObjectReader)
class FileReader:
    """A range of a file."""

    rest = None

    def __init__(self, descriptor: int, start: int, length: int, threads: Threads) -> None:
        self.descriptor: int | None = descriptor
        self.start = start
        self.length = length
        self._threads = threads
        self._at = start

    async def read(self) -> bytes:
        """The next bytes, at most 256 KiB; b"" at the end."""
        size = min(READ, self.start + self.length - self._at)
        if not size or self.descriptor is None:
            return b""
        data = await self._threads.run(guarded, os.pread, self.descriptor, size, self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Free the descriptor."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@implementer(IObjectWriter)
class FileWriter:
    """The one writer of a staged file: for each batch it makes sure, under the lock, that it still is."""

    room: int | None = None  # nothing is durable before the fsync at the end

    def __init__(self, descriptor: int, path: Path, position: int, threads: Threads) -> None:
        self._descriptor: int | None = descriptor
        self._path = path
        self._position = self._handed_over = position
        self._threads = threads

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Append these bytes."""
        await self._threads.run(self._write, pieces)

    async def settle(self, last: bool) -> State:
        """fsync, and close."""
        try:
            await self._threads.run(guarded, self._fsync)
        finally:
            await self.close()
        return {"length": self._position}

    async def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            await self._threads.run(os.close, descriptor)

    def _write(self, pieces: Sequence[bytes]) -> None:
        assert self._descriptor is not None
        with os_errors(), locked(self._descriptor):
            if not self._path.exists():
                raise Superseded
            for first in range(0, len(pieces), IOV_MAX):
                self._write_all(self._descriptor, pieces[first : first + IOV_MAX])
            self._start_writeback(self._descriptor)

    def _write_all(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        written = os.pwritev(descriptor, pieces, self._position)
        self._position += written
        rest = b"".join(pieces)[written:] if written < sum(map(len, pieces)) else b""
        while rest:  # a short write: the disk is nearly full, or a signal came
            written = os.pwrite(descriptor, rest, self._position)
            self._position += written
            rest = rest[written:]

    def _start_writeback(self, descriptor: int) -> None:
        # Linux begins to write out what it is told will not be read again, without waiting: fsync then finds little.
        if self._position - self._handed_over >= WRITEBACK:
            os.posix_fadvise(descriptor, self._handed_over, self._position - self._handed_over, os.POSIX_FADV_DONTNEED)
            self._handed_over = self._position

    def _fsync(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        with suppress(FileNotFoundError):  # taken over or cancelled: the row's fence will say so
            fsync_directory(self._path.parent)


def guarded(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of the call; what the operating system says is told as StoreFull or Unavailable."""
    with os_errors():
        return function(*args, **kwargs)
