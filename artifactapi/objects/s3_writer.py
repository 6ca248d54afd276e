"""The way of bytes into a bucket: parts of a multipart upload, sent while the next bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.logger import Logger
from zope.interface import implementer

from artifactapi.objects.bucket import Bucket, UploadMissing
from artifactapi.objects.interface import Checkpoint, IObjectWriter, ObjectMissing, State, Superseded
from artifactapi.objects.staged import WINDOW, Staged
from artifactapi.oci.errors import OciError, SizeInvalid
from artifactapi.shield import detached

PART = 8 * 1024 * 1024
"""Bytes of each of the first GROWTH parts; of each GROWTH after them twice as many as before."""
GROWTH = 2500
LAST_NUMBER = 10_000  # by the protocol
SPILL = 1024 * 1024
"""Bytes that are worth an object of their own, when memory is short."""
log = Logger()


class Memory:
    """What all writers of a process hold, and how many of them may send at once."""

    def __init__(self, limit: int, senders: int) -> None:
        self.limit = limit
        self.held = 0
        self.senders = DeferredSemaphore(senders)

    @property
    def is_short(self) -> bool:
        """Whether writers should get rid of what they hold."""
        return self.held > self.limit


def part_size(number: int) -> int:
    """Bytes of a part: equal ones (some servers take no others), until 10,000 of them would not do."""
    return PART << (min(number, LAST_NUMBER - 1) // GROWTH)


@implementer(IObjectWriter)
class S3Writer:
    """Fills part after part; up to WINDOW of them are on their way, and recorded in order.

    Fewer bytes than a part become an object of their own when the writer settles. The next writer reads them again
    when there are enough for a part; if none comes, and they are all there is, they are the object.
    """

    def __init__(self, bucket: Bucket, memory: Memory, key: str, staged: Staged, checkpoint: Checkpoint) -> None:
        self._bucket = bucket
        self._memory = memory
        self._key = key
        self._checkpoint = checkpoint
        self._staged = staged  # what is durable, without a gap
        self._number = staged.number
        self._tail = staged.tail
        self._pieces: list[bytes] = []
        self._held = 0
        self._spills = 0
        self._sealing = False
        self._sending = DeferredSemaphore(WINDOW)
        self._before: Deferred[None] = succeed(None)  # the end of the part sent last
        self._failure: Exception | None = None

    @property
    def room(self) -> int:
        """Bytes until the part that is being filled is full."""
        return max(0, part_size(self._number) - self._held - sum(size for _, size in self._tail))

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Fill parts, and send those that are full."""
        await self._send_full()  # a release with larger parts may have left enough for one
        for piece in pieces:
            while piece:
                taken, piece = piece[: self.room], piece[self.room :]
                self._hold(taken)
                await self._send_full()
        self._raise()
        if self._memory.is_short and self._held >= SPILL:
            await self._landed()
            await self._spill()

    async def settle(self, last: bool) -> State:
        """Wait for the parts; then what is left becomes the last part, or an object of its own."""
        await self._landed()
        if last:
            await self._seal()
        elif self._held:
            await self._end()
        self._staged = replace(self._staged, settled=True)
        return self._staged.to_state()

    async def close(self) -> None:
        """Wait for what is on its way, and forget the rest."""
        await self._before
        self._take()

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        self._memory.held += len(piece)

    def _take(self) -> list[bytes]:
        """What is held; from now on its user's to count."""
        pieces, self._pieces = self._pieces, []
        self._memory.held -= self._held
        self._held = 0
        return pieces

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _landed(self) -> None:
        await self._before
        self._raise()

    async def _send_full(self) -> None:
        if not self.room:
            await self._send()

    async def _send(self) -> None:
        """Start the upload of what is held, and of the tail before it, as the next part."""
        await self._sending.acquire()
        await self._memory.senders.acquire()
        try:
            self._raise()
            upload = await self._upload()
        except BaseException:
            self._memory.senders.release()
            self._sending.release()
            raise
        size, tail, number = self._held, self._tail, self._number
        self._number, self._tail = number + 1, ()
        before, self._before = self._before, Deferred()
        detached(self._finish(upload, number, size, tail, self._take(), before, self._before))

    async def _finish(
        self,
        upload: str,
        number: int,
        size: int,
        tail: Sequence[tuple[str, int]],
        pieces: list[bytes],
        before: Deferred[None],
        done: Deferred[None],
    ) -> None:
        """Upload the part; record it when those before it are. A failure is kept for the next call."""
        try:
            try:
                pieces = await self._bucket.read([key for key, _ in tail]) + pieces
                etag = await self._bucket.part(self._key, upload, number, pieces)
            finally:
                self._memory.senders.release()
            await before
            if self._failure is None:
                await self._record(self._staged.with_part(number, etag, size))
        except UploadMissing:
            self._fail(await self._why_missing())
        except Exception as error:
            self._fail(error)
        finally:
            self._sending.release()
            await before
            done.callback(None)

    async def _record(self, staged: Staged) -> None:
        self._staged = staged
        if not self._sealing:  # else it is for the caller of `settle` to record, and for the commit to clear up
            await self._checkpoint(staged.to_state(), staged.length)
            await self._delete_spent()

    async def _delete_spent(self) -> None:
        spent = self._staged.spent
        if spent:
            with suppress(OciError):  # they stay in the state, and go with the commit
                stuck = await self._bucket.delete(spent)
                self._staged = replace(self._staged, spent=tuple(stuck))

    async def _why_missing(self) -> Exception:
        try:
            gone = await self._bucket.size(self._key) is not None
        except Exception as error:
            return error
        return Superseded() if gone else ObjectMissing(f"{self._key}: its multipart upload is gone")

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error

    async def _upload(self) -> str:
        if self._number > LAST_NUMBER:
            raise SizeInvalid("the blob has more parts than the object store takes")
        if self._staged.upload is None:
            upload, doubtful = await self._bucket.begin(self._key)
            self._staged = replace(self._staged, upload=upload, contended=self._staged.contended or doubtful)
            return upload
        return self._staged.upload

    async def _end(self) -> None:
        """What is held becomes an object, for whoever goes on; and the last part, in case nobody does."""
        if self._staged.upload is None or self._tail:
            await self._spill()
            return
        ending = detached(self._send_ending(self._staged.upload, self._number, list(self._pieces)))
        await self._spill()
        self._staged = replace(self._staged, ending=await ending)

    async def _send_ending(self, upload: str, number: int, pieces: list[bytes]) -> tuple[int, str] | None:
        """Number and ETag; None if it cannot be sent, which only makes the end of the upload slower."""
        await self._memory.senders.acquire()
        try:
            return number, await self._bucket.part(self._key, upload, number, pieces)
        except (OciError, UploadMissing, ObjectMissing):
            return None
        finally:
            self._memory.senders.release()

    async def _spill(self) -> None:
        """Make an object of what is held, to be read again when there is enough for a part."""
        key = self._new_key()
        size = await self._put(key, [])
        self._staged = self._staged.with_object(key, size)
        self._tail = self._staged.tail

    async def _seal(self) -> None:
        """Nothing follows: all is in the parts, or in one object."""
        self._sealing, staged = True, self._staged
        if staged.upload is not None:
            if staged.ending and not self._held:
                self._staged = staged.with_part(*staged.ending, 0)
            elif self._held or self._tail:
                await self._send()
                await self._landed()
            self._staged = replace(self._staged, object=self._key)
        elif len(staged.tail) == 1 and not self._held:
            self._staged = replace(staged, object=staged.tail[0][0])
        else:
            await self._gather()

    async def _gather(self) -> None:
        key, names = self._new_key(), [name for name, _ in self._staged.tail]
        size = await self._put(key, names)
        staged = self._staged
        spent = (*staged.spent, *names)
        self._staged = replace(staged, length=staged.length + size, tail=(), spent=spent, object=key)

    async def _put(self, key: str, first: Sequence[str]) -> int:
        """Make an object of these objects and of what is held; how many bytes were held."""
        await self._memory.senders.acquire()
        try:
            before, size = await self._bucket.read(first), self._held
            doubtful = await self._bucket.put(key, before + self._take())
        finally:
            self._memory.senders.release()
        self._staged = replace(self._staged, contended=self._staged.contended or doubtful)
        return size

    def _new_key(self) -> str:
        self._spills += 1
        return f"{self._key}.{self._staged.fence}-{self._spills}"
