"""Bodies of requests, and blobs as a client sees them."""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredQueue
from twisted.python.failure import Failure

from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.names import ImageName
from artifactapi.registry.intake import INLINE, ClientGone
from artifactapi.registry.registry import Registry

NAME = ImageName("docker-internal", "team/app")
OTHER = ImageName("docker-internal", "team/other")
NOWHERE = ImageName("nowhere", "team/app")
BIG = Random(1).randbytes(3 * INLINE + 5)
SMALL = b"a small blob"


class Pieces:
    """A body that comes in these pieces, and then ends: well, with a client that hangs up, or with an error.

    `length` is what was announced.
    """

    def __init__(self, *pieces: bytes, then: Exception | None = None, length: int | None = None) -> None:
        self.length = length
        self._pieces = list(pieces)
        self._then = then

    async def read(self) -> list[bytes]:
        """The next piece."""
        if self._pieces:
            return [self._pieces.pop(0)]
        if self._then is not None:
            raise self._then
        return []


def hung_up(*pieces: bytes) -> Pieces:
    """A body whose client hangs up after these."""
    return Pieces(*pieces, then=ClientGone())


def cut(content: bytes, size: int) -> Pieces:
    """A body in pieces of that size."""
    return Pieces(*(content[at : at + size] for at in range(0, len(content), size)))


class Slow:
    """A body that comes when the test says so."""

    length = None

    def __init__(self) -> None:
        self._pieces: DeferredQueue[list[bytes]] = DeferredQueue()
        self.waiting = 0

    async def read(self) -> list[bytes]:
        """What comes next."""
        self.waiting += 1
        return await self._pieces.get()

    def send(self, *pieces: bytes) -> None:
        """These arrive; none: the end."""
        self._pieces.put(list(pieces))


async def content_of(registry: Registry, name: ImageName, digest: Digest) -> bytes:
    """The blob, as a pull gets it."""
    blob = await registry.blobs.find(name, digest)
    if blob.content is not None:
        return blob.content
    reader = await registry.blobs.open(blob, 0, blob.size)
    try:
        return b"".join([piece async for piece in pieces(reader)])
    finally:
        reader.close()


async def pieces(reader: Any):
    """All that a reader gives."""
    while piece := await reader.read():
        yield piece


async def push(registry: Registry, content: bytes, name: ImageName = NAME, algorithm: str = "sha256") -> Digest:
    """Push a blob; its digest."""
    digest = digest_of(content, algorithm)
    await registry.uploads.push(name, digest, Pieces(content))
    return digest


async def outcomes(*work: Awaitable[Any]) -> list[Any]:
    """Run coroutines at the same time; what each returned or raised."""
    done = await DeferredList([Deferred.fromCoroutine(w) for w in work], consumeErrors=True)  # type: ignore[arg-type]
    return [result.value if isinstance(result, Failure) else result for _, result in done]
