"""Blobs of an image: find, open, mount, delete."""

from __future__ import annotations

from collections.abc import Sequence

from artifactapi.metadata import audit
from artifactapi.metadata import blobs as rows
from artifactapi.metadata.audit import SYSTEM, By, Event
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.lookups import Lookups
from artifactapi.metadata.visible import Visible
from artifactapi.objects.interface import IObjectReader, IObjectStore
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName
from artifactapi.registry import absent
from artifactapi.registry.elsewhere import Elsewhere, May, anyone
from artifactapi.registry.fill import Fill
from artifactapi.registry.fills import open_blob
from artifactapi.registry.repos import Repos

URL_SECONDS = 1200
"""How long a client may take to begin with a download that it was sent to; Docker's own registry gives as long."""


class Blobs:
    """A blob is served only by images it is linked to, and the database alone says which."""

    def __init__(
        self,
        database: Database,
        store: IObjectStore,
        repos: Repos,
        redirect: bool,
        lease: float,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._redirect = redirect
        self._lease = lease
        self._database = database
        self._store = store
        self._repos = repos
        self._lookups = Lookups(database, rows.find_all)

    async def find(self, name: ImageName, digest: Digest, may: May = anyone, fetch: bool = True) -> Blob:
        """Where the blob's bytes are (end-point 2). `may`: whether the caller may pull from a member of a virtual repo;
        `fetch`: whether what only an upstream has is fetched, or only described.

        Raises BlobUnknown, NameUnknown, and what an upstream fails with.
        """
        blob = await self._lookups.get((name, digest))
        if blob is None:
            repo = await self._repos.require(name)
            if self._elsewhere is None or repo.repo_type == "local":
                raise absent.blob(digest)
            blob = await self._elsewhere.blob(repo, name, digest, may, fetch)
        if self._elsewhere is not None and blob.source == "hit":
            self._elsewhere.uses.add(name, str(digest))
        return blob

    async def promise(self, name: ImageName, digest: Digest, may: May = anyone) -> Blob:
        """The blob, which stays in the image for `lease` seconds from now on, manifest or not (end-point 2, HEAD).

        Cheap: a row is written only when a quarter of the lease has passed; the collector gives that quarter on top.
        Raises BlobUnknown, NameUnknown.
        """
        blob = await self.find(name, digest, may, fetch=False)
        lapsing = blob.idle is not None and blob.idle >= self._lease / 4
        if lapsing and not await rows.renew(self._database, blob.image or name, digest):
            raise absent.blob(digest)
        return blob

    async def url(self, blob: Blob) -> str | None:
        """Where a client gets the blob's bytes by itself; None if it gets them here."""
        if blob.key is None or not (self._redirect if blob.redirect is None else blob.redirect):
            return None
        return await self._store.url(blob.key, URL_SECONDS)

    async def open(self, blob: Blob, start: int, length: int) -> IObjectReader:
        """`length` bytes from `start` on of a blob, as they come if it is on its way. Raises ObjectMissing."""
        if isinstance(blob.fill, Fill):
            return await blob.fill.open(start, length)
        return await open_blob(self._store, blob, start, length)

    async def mount(self, name: ImageName, digest: Digest, source: ImageName | None, visible: Visible = ()) -> bool:
        """Link a blob that `source` (None: any image that may be seen) has; end-point 11.

        False if it is not there to be mounted.
        """
        return await rows.mount(self._database, name, digest, source, visible)

    async def mount_any(self, name: ImageName, digest: Digest, sources: Sequence[ImageName]) -> bool:
        """The same from the first of several images that has it here, each of which may be seen."""
        for source in sources:
            if await self.mount(name, digest, source):
                return True
        return False

    async def delete(self, name: ImageName, digest: Digest, by: By = SYSTEM) -> None:
        """Take the blob from the image, at once; end-point 10. Raises BlobUnknown, NameUnknown, Unsupported."""
        await self._repos.require_delete(name)

        async def work(transaction: Transaction) -> None:
            if not await rows.unlink(transaction, name, digest):
                raise absent.blob(digest)
            event = Event("blob.delete", name.repo, name.image, digest=str(digest))
            await audit.record(transaction, by, event)

        await self._database.transaction(work)
