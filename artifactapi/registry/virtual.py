"""Virtual repos: several repos seen as one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from artifactapi.metadata import members as rows
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database
from artifactapi.metadata.manifests import Stored
from artifactapi.metadata.members import Member
from artifactapi.metadata.repos import Repo
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import BlobUnknown, ManifestUnknown, NameUnknown, OciError
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry import absent
from artifactapi.registry.blobs import Blobs
from artifactapi.registry.elsewhere import May, anyone, nobody
from artifactapi.registry.fill import Fill
from artifactapi.registry.manifests import Manifests
from artifactapi.registry.referrers import ReferrersOf
from artifactapi.registry.repos import Repos
from artifactapi.registry.tags import Tags

MOST_REFERRERS = 10_000
T = TypeVar("T")
ABSENT = (ManifestUnknown, BlobUnknown, NameUnknown)


class Virtual:
    """Asks the members in their order.

    An image that a local member has is that member's: no upstream is asked for a tag of it, or somebody could put
    another image under its name there.
    """

    def __init__(
        self,
        database: Database,
        repos: Repos,
        manifests: Manifests,
        blobs: Blobs,
        tags: Tags,
        referrers: ReferrersOf,
    ) -> None:
        self._database = database
        self._repos = repos
        self._manifests = manifests
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers

    async def manifest(self, repo: Repo, name: ImageName, reference: Digest | Tag, may: May) -> Stored:
        """A tag's at the first member that has it; a digest's wherever it is. Raises ManifestUnknown."""
        if isinstance(reference, Digest):
            return await self._find(members(repo, name), reference, may)
        for at in await self._claimed(repo, name, may):
            try:
                return await self._manifests.get(at, reference, nobody)
            except ABSENT:
                continue  # any other error ends it: the next member's tag may stand for something else
        raise absent.manifest(reference)

    async def blob(self, repo: Repo, name: ImageName, digest: Digest, may: May, fetch: bool) -> Blob:
        """The blob, wherever it is. Raises BlobUnknown."""
        places = await self._nearest(members(repo, name), digest, may)
        return await self._at(places, digest, fetch)

    async def find(self, places: Sequence[ImageName], digest: Digest) -> Stored:
        """The manifest, if one of these images has it, or its upstream. Raises ManifestUnknown, and what an upstream
        fails with."""
        return await self._find(places, digest, anyone)

    async def fetch(self, places: Sequence[ImageName], digest: Digest) -> None:
        """Have the blob here, if one of these images has it, or its upstream."""
        with suppress(OciError):
            blob = await self._at(await self._nearest(places, digest, anyone), digest)
            if isinstance(blob.fill, Fill):
                await blob.fill.ended()

    async def tags(self, repo: Repo, name: ImageName, page: Page, may: May) -> Listing:
        """A page of the tags of all members, each once. Raises NameUnknown."""
        listings = []
        for at in await self._claimed(repo, name, may):
            with suppress(*ABSENT):
                listings.append(await self._tags.listing(at, page, nobody))
        if not listings:
            raise NameUnknown("no such image", {"name": str(name)})
        return merged(listings, page)

    async def referrers_of(
        self, repo: Repo, name: ImageName, subject: Digest, may: May
    ) -> tuple[list[dict[str, Any]], str]:
        """The descriptors that the members have, each once, and where they come from."""
        found: dict[str, dict[str, Any]] = {}
        sources = set()
        for at in await self._claimed(repo, name, may):
            with suppress(*ABSENT):
                page = await self._referrers.listing(at, subject, None, "", MOST_REFERRERS, nobody)
                sources.add(page.source)
                for entry in page.descriptors:
                    found.setdefault(entry["digest"], entry)
        return list(found.values()), furthest(sources)

    async def _find(self, names: Sequence[ImageName], digest: Digest, may: May) -> Stored:
        places = await self._nearest(names, digest, may)
        return await anywhere(places, lambda at: self._manifests.get(at, digest, nobody), absent.manifest(digest))

    async def _at(self, places: Sequence[ImageName], digest: Digest, fetch: bool = True) -> Blob:
        return await anywhere(places, lambda at: self._blobs.find(at, digest, nobody, fetch), absent.blob(digest))

    async def _claimed(self, repo: Repo, name: ImageName, may: May) -> list[ImageName]:
        """Those that may say what belongs to a name: the local members that have the image, if there are any, whether
        the caller may see them or not; else all."""
        names = members(repo, name)
        owners = await rows.owners(self._database, names)
        return [at for at in names if (not owners or at.repo in owners) and may(at)]

    async def _nearest(self, names: Sequence[ImageName], digest: Digest, may: May) -> list[ImageName]:
        """Those that may be asked, and first those that have it here: no upstream is asked for what another member
        has."""
        here = await rows.holders(self._database, names, digest)
        return sorted(filter(may, names), key=lambda at: at.repo not in here)


async def anywhere(names: Sequence[ImageName], ask: Callable[[ImageName], Awaitable[T]], unknown: OciError) -> T:
    """What a digest stands for is the same everywhere: an error counts only if nobody has it. Raises `unknown`."""
    failed: OciError | None = None
    for at in names:
        try:
            return await ask(at)
        except ABSENT:
            continue
        except OciError as error:
            failed = failed or error
    raise failed or unknown


def merged(listings: Sequence[Listing], page: Page) -> Listing:
    """A page of the names in these pages, each once."""
    # What lies behind the end of a page that goes on is not known to be next.
    end = min((listing.last for listing in listings if listing.more), default=None)
    known = {name for listing in listings for name in json.loads(listing.names)}
    names = sorted(name for name in known if name > page.last and (end is None or name <= end))
    source = furthest({listing.source for listing in listings})
    if len(names) > page.count:
        return listed(names[: page.count], None, True, source)
    return listed(names, end, end is not None, source)


def listed(names: Sequence[str], last: str | None, more: bool, source: str) -> Listing:
    """A page with these names; `last`: where the next one begins, if not behind its own last name."""
    if last is None:
        last = names[-1] if names else ""
    return Listing(json.dumps(names), last, more, source)


def furthest(sources: Collection[str]) -> str:
    """Of several sources, the one that says most of what was merged: stale, if one is."""
    return next((source for source in ("stale", "miss", "hit") if source in sources), "local")


def members(repo: Repo, name: ImageName) -> list[ImageName]:
    """The images that are seen as one here, in order."""
    parsed = map(Member.parse, repo.settings.get("members", ()))
    return [ImageName(member.repo, name.image) for member in parsed if member.has(name.image)]
