"""The bytes of blobs: a beginning of one file, and an end that no other blob has."""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from benchlib.client import MIB

SUFFIX = 17  # bytes: no size is then a multiple of anything
PIECE = 32 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """The first `start` bytes of a file, then `suffix`."""

    file: pathlib.Path
    start: int
    suffix: bytes
    digest: str

    @property
    def size(self) -> int:
        return self.start + len(self.suffix)

    def send(self, connection: socket.socket) -> None:
        """As it is, by sendfile."""
        with self.file.open("rb") as source:
            connection.sendfile(source, 0, self.start)
        connection.sendall(self.suffix)

    def send_chunked(self, connection: socket.socket) -> None:
        """In HTTP chunks of 32 KiB."""
        for data in self.pieces():
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        connection.sendall(b"0\r\n\r\n")

    def pieces(self) -> Iterator[bytes]:
        with self.file.open("rb") as source:
            for at in range(0, self.start, PIECE):
                yield source.read(min(PIECE, self.start - at))
        yield self.suffix


class Source:
    """A file of random bytes. Its beginnings are hashed once, so that one more blob costs nothing."""

    def __init__(self, file: pathlib.Path, size: int) -> None:
        """`size` in MiB."""
        self._file = file
        self._hashes: dict[int, hashlib._Hash] = {}
        with file.open("wb") as output:
            for _ in range(size):
                output.write(os.urandom(MIB))

    def content(self, start: int) -> Content:
        """Of `start` MiB and 17 bytes; no registry has seen its digest."""
        suffix, digest = os.urandom(SUFFIX), self._hash(start).copy()
        digest.update(suffix)
        return Content(self._file, start * MIB, suffix, f"sha256:{digest.hexdigest()}")

    def _hash(self, start: int) -> hashlib._Hash:
        if start not in self._hashes:
            self._hashes[start] = hashlib.sha256()
            with self._file.open("rb") as source:
                for _ in range(start):
                    self._hashes[start].update(source.read(MIB))
        return self._hashes[start]
