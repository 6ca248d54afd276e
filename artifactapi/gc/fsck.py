"""A check of the whole: every row has its bytes, every object has its row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from artifactapi.gc.progress import Progress
from artifactapi.metadata import checks
from artifactapi.metadata.checks import Content
from artifactapi.metadata.database import Database
from artifactapi.objects.interface import IObjectStore, ObjectMissing
from artifactapi.oci.digest import Digest
from artifactapi.oci.hashing import Hasher
from artifactapi.threads import Threads

PAGE = 200
IMAGES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: `kind` is lost (no bytes), damaged (other bytes) or orphan (bytes without a row)."""

    kind: str
    name: str
    detail: str


class Fsck:
    """One check. It may run while the registry works: what comes and goes meanwhile is no finding."""

    def __init__(
        self,
        database: Database,
        store: IObjectStore,
        threads: Threads,
        found: Callable[[Finding], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self._database = database
        self._store = store
        self._threads = threads
        self._found = found
        self._progress = progress

    async def run(self, digests: bool, repair: bool) -> None:
        """Check all; `digests`: read the bytes of every object. `repair`: orphans go to the outbox."""
        blobs, manifests = await checks.totals(self._database)
        await self._contents("blobs", checks.blobs, blobs, digests)
        await self._contents("manifests", checks.manifests, manifests, digests)
        await self._objects(repair)

    async def _contents(
        self, step: str, page_of: Callable[..., Awaitable[list[Content]]], total: int, digests: bool
    ) -> None:
        done, after = 0, ""
        while page := await page_of(self._database, after, PAGE):
            for content in page:
                await self._content(content, digests)
            done, after = done + len(page), page[-1].place
            self._progress(Progress(step, done, max(total, done)))

    async def _content(self, content: Content, digests: bool) -> None:
        try:
            size = await self._size(content)
            if size != content.size:
                await self._report(content, "damaged", f"has {size} bytes instead of {content.size}")
            elif digests and str(actual := await self._digest(content)) != content.digest:
                await self._report(content, "damaged", f"its bytes have the digest {actual}")
        except ObjectMissing:
            await self._report(content, "lost", "its bytes are gone")

    async def _report(self, content: Content, kind: str, detail: str) -> None:
        if content.key is not None:
            if not await checks.is_blob(self._database, content.key):
                return  # it was deleted meanwhile; in the outbox, its key may outlast its bytes
            images = await checks.images_with(self._database, content.digest, IMAGES_SHOWN)
            detail = f"{detail}; object {content.key}; in {', '.join(images) or 'no image'}"
        self._found(Finding(kind, content.name, detail))

    async def _size(self, content: Content) -> int:
        if content.key is None:
            return len(content.content or b"")
        size = await self._store.size(content.key)
        if size is None:
            raise ObjectMissing(content.key)
        return size

    async def _digest(self, content: Content) -> Digest:
        """Of its bytes. Raises ObjectMissing."""
        hasher = Hasher(Digest.parse(content.digest).algorithm)
        if content.key is None:
            await self._threads.run(hasher.update, content.content or b"")
            return hasher.digest()
        reader = await self._store.open(content.key, 0, content.size)
        try:
            while data := await reader.read():
                await self._threads.run(hasher.update, data)
        finally:
            reader.close()
        return hasher.digest()

    async def _objects(self, repair: bool) -> None:
        done, after = 0, ""
        while keys := await self._store.keys(after):
            # Asked after the keys were seen: an object's row is there before the object, and goes after it.
            orphans = await self._still_there(await checks.unnamed(self._database, keys), after)
            for key in orphans:
                self._found(Finding("orphan", key, "to be deleted by the collector" if repair else "no row names it"))
            if repair and orphans:
                await checks.doom(self._database, orphans)
            done, after = done + len(keys), keys[-1]
            self._progress(Progress("objects", done))

    async def _still_there(self, keys: Sequence[str], after: str) -> list[str]:
        """Those of the keys, all after `after`, that did not go with their rows meanwhile."""
        there: set[str] = set()
        while after < max(keys, default="") and (page := await self._store.keys(after)):
            there.update(page)
            after = page[-1]
        return [key for key in keys if key in there]
