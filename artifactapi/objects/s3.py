"""Objects in a bucket of an S3 server.

blobs/ab/<uuid>              a committed object of several parts
blobs/ab/<uuid>.<fence>-<n>  one that had less than a part; or bytes of an upload under way that are not a part yet
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from artifactapi.objects.bucket import Bucket, UploadMissing
from artifactapi.objects.interface import (
    Checkpoint,
    Committed,
    IObjectReader,
    IObjectStore,
    ObjectMissing,
    State,
    Superseded,
)
from artifactapi.objects.s3_writer import Memory, S3Writer
from artifactapi.objects.staged import Staged
from artifactapi.oci.errors import OciError, Unavailable
from artifactapi.shield import detached

if TYPE_CHECKING:
    from botocore.response import StreamingBody

READ = 1024 * 1024
"""Bytes of one read: four times as many as of a file, since each costs a turn through a thread and a socket."""
TRIES = 3  # to go on with a download whose connection to S3 broke


@implementer(IObjectReader)
class S3Reader:
    """A range of an object. The next bytes are asked for while the last are on their way to the client."""

    descriptor: int | None = None
    rest = None

    def __init__(self, bucket: Bucket, key: str, start: int, length: int, body: StreamingBody | None) -> None:
        self.start = start
        self.length = length
        self._bucket = bucket
        self._key = key
        self._at = start
        self._body = body
        self._beyond = body is None  # the range begins behind the end
        self._closed = False
        self._ahead: Deferred[bytes] | None = None

    async def read(self) -> bytes:
        """The next bytes, at most 1 MiB; b"" at the end."""
        ahead, self._ahead = self._ahead, None
        data = await (ahead or self._read())
        if data and not self._closed:
            self._ahead = detached(self._read())
        return data

    def close(self) -> None:
        """Close the connection, when no thread reads from it any more."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.addBoth(lambda _: self._close())
        else:
            self._close()

    def _close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    async def _read(self) -> bytes:
        left = self.start + self.length - self._at
        for tries_left in reversed(range(TRIES)):
            if not left or self._beyond:
                break
            try:
                if self._body is None:
                    self._body = await self._bucket.open(self._key, self._at, left)
                data = await self._bucket.read_from(self._body, min(READ, left)) if self._body else b""
            except Unavailable:
                self._close()
                if not tries_left:
                    raise
            else:
                self._at += len(data)
                return data
        return b""


@implementer(IObjectStore)
class S3Store:
    """Objects in a bucket. The session's row says which of several writers goes on: S3 itself cannot."""

    def __init__(self, bucket: Bucket, memory: Memory) -> None:
        self._bucket = bucket
        self._memory = memory

    async def start(self) -> None:
        """See whether the bucket answers. Raises Unavailable."""
        await self._bucket.start()

    async def check(self) -> None:
        """See whether the bucket answers."""
        await self._bucket.check()

    def is_sealed(self, state: State) -> bool:
        """Whether the last bytes are in a part, or in the object."""
        return Staged.parse(state).object is not None

    async def writer(self, key: str, state: State, fence: int, checkpoint: Checkpoint) -> S3Writer:
        """Go on from the state; nothing is sent yet. Raises Superseded if it is sealed."""
        staged = Staged.parse(state)
        if staged.object is not None:
            raise Superseded
        return S3Writer(self._bucket, self._memory, key, staged.claimed(fence), checkpoint)

    async def commit(self, key: str, state: State, fence: int) -> Committed:
        """CompleteMultipartUpload, whatever the size; nothing for less than a part."""
        staged = Staged.parse(state)
        assert staged.object is not None, "sealed"
        cleared = detached(self._cleared(staged.spent))  # meanwhile: what is sealed needs them no more
        try:
            if staged.upload is not None:
                await self._complete(key, staged.upload, staged)
            # The bytes are never read again by us: this is what vouches for them.
            if await self._bucket.size(staged.object) != staged.length:
                raise ObjectMissing(f"{staged.object}: not there, or not all of it")
        finally:
            clear = await cleared
        return Committed(staged.object, staged.contended or not clear)

    async def _cleared(self, spent: Sequence[str]) -> bool:
        try:
            return not await self._bucket.delete(spent)
        except OciError:  # the blob is there: what is left beside it is for the outbox
            return False

    async def _complete(self, key: str, upload: str, staged: Staged) -> None:
        with suppress(UploadMissing):  # done, and the answer was lost?
            await self._bucket.complete(key, upload, staged.parts)

    async def open(self, key: str, start: int, length: int) -> S3Reader:
        """GetObject with a range."""
        if length:
            return S3Reader(self._bucket, key, start, length, await self._bucket.open(key, start, length))
        if await self._bucket.size(key) is None:
            raise ObjectMissing(key)
        return S3Reader(self._bucket, key, start, 0, None)

    async def size(self, key: str) -> int | None:
        """HeadObject."""
        return await self._bucket.size(key)

    async def keys(self, after: str) -> list[str]:
        """A page of ListObjectsV2, with the multipart uploads whose keys are among them."""
        return await self._bucket.keys(after)

    async def url(self, key: str, seconds: int) -> str | None:
        """A presigned URL."""
        return await self._bucket.url(key, seconds)

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """DeleteObjects."""
        return await self._bucket.delete(keys)

    async def abort(self, key: str, keep: str | None) -> None:
        """Abort its multipart uploads, and delete what lies under the key and under those that begin with it."""
        await self._bucket.delete_below(key, keep)
