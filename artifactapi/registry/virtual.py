"""Virtual repos: several repos seen as one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from artifactapi.metadata import members as rows
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database
from artifactapi.metadata.manifests import Stored
from artifactapi.metadata.repos import Repo
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import BlobUnknown, ManifestUnknown, NameUnknown, OciError
from artifactapi.oci.globs import matches
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.blobs import Blobs
from artifactapi.registry.elsewhere import May
from artifactapi.registry.manifests import Manifests
from artifactapi.registry.referrers import ReferrersOf
from artifactapi.registry.repos import Repos
from artifactapi.registry.tags import Tags

MOST_REFERRERS = 10_000
T = TypeVar("T")
Ask = Callable[[ImageName], Awaitable[T]]
ABSENT = (ManifestUnknown, BlobUnknown, NameUnknown)


@dataclass(frozen=True, slots=True)
class Member:
    """A repo among those seen as one, for images that match `allow` and not `deny`."""

    repo: str
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: str | Mapping[str, Any]) -> Member:
        """From a name, or {"repo", "allow", "deny"}."""
        if isinstance(given, str):
            return cls(given)
        return cls(given["repo"], tuple(given.get("allow", ("*",))), tuple(given.get("deny", ())))

    def has(self, image: str) -> bool:
        """Whether it is asked for that image."""
        return any(matches(g, image) for g in self.allow) and not any(matches(g, image) for g in self.deny)


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
            places = seen(repo, name, may)
            return await self._anywhere(places, lambda at: self._manifests.get(at, reference), reference)
        for at in await self._claimed(repo, name, may):
            try:
                return await self._manifests.get(at, reference)
            except ABSENT:
                continue  # any other error ends it: the next member's tag may stand for something else
        raise ManifestUnknown("manifest unknown to this image", {"reference": str(reference)})

    async def blob(self, repo: Repo, name: ImageName, digest: Digest, may: May) -> Blob:
        """The blob, wherever it is. Raises BlobUnknown."""
        return await self._anywhere(seen(repo, name, may), lambda at: self._blobs.find(at, digest), digest)

    async def tags(self, repo: Repo, name: ImageName, page: Page, may: May) -> Listing:
        """A page of the tags of all members, each once. Raises NameUnknown."""
        names: set[str] = set()
        more, known = False, False
        for at in await self._claimed(repo, name, may):
            try:
                listing = await self._tags.listing(at, page)
            except ABSENT:
                continue
            known = True
            names.update(json.loads(listing.names))
            more = more or listing.more
        if not known:
            raise NameUnknown("no such image", {"name": str(name)})
        shown = sorted(names)
        return Listing(json.dumps(shown[: page.count]), last_of(shown[: page.count]), more or len(shown) > page.count)

    async def referrers_of(self, repo: Repo, name: ImageName, subject: Digest, may: May) -> list[dict[str, Any]]:
        """The descriptors that the members have, each once."""
        merged: dict[str, dict[str, Any]] = {}
        for at in seen(repo, name, may):
            try:
                found = await self._referrers.listing(at, subject, None, "", MOST_REFERRERS)
            except ABSENT:
                continue
            for entry in found.descriptors:
                merged.setdefault(entry["digest"], entry)
        return list(merged.values())

    async def _claimed(self, repo: Repo, name: ImageName, may: May) -> list[ImageName]:
        """Those that may say what a tag stands for: the local members that have the image, if there are any, whether
        the caller may see them or not; else all."""
        names = members(repo, name)
        owners = await rows.owners(self._database, names)
        return [at for at in names if (not owners or at.repo in owners) and may(at)]

    async def _anywhere(
        self, names: Sequence[ImageName], ask: Callable[[ImageName], Awaitable[T]], wanted: Digest
    ) -> T:
        """What a digest stands for is the same everywhere; the first error counts only if nobody has it."""
        failed: OciError | None = None
        absent: OciError = ManifestUnknown("unknown to this image", {"digest": str(wanted)})
        for at in names:
            try:
                return await ask(at)
            except ABSENT as error:
                absent = error
            except OciError as error:
                failed = failed or error
        raise failed or absent


def members(repo: Repo, name: ImageName) -> list[ImageName]:
    """The images that are seen as one here, in order."""
    parsed = map(Member.parse, repo.settings.get("members", ()))
    return [ImageName(member.repo, name.image) for member in parsed if member.has(name.image)]


def seen(repo: Repo, name: ImageName, may: May) -> list[ImageName]:
    """Those of them that the caller may pull from."""
    return [at for at in members(repo, name) if may(at)]


def last_of(names: Sequence[str]) -> str:
    """The last name of a page."""
    return names[-1] if names else ""
