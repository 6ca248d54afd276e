"""What is asked where a repo is not local: an upstream, or other repos."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.manifests import Stored
from artifactapi.metadata.repos import Repo
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import BadGateway, Denied, GatewayTimeout, TooManyRequests
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.remote import Remote
from artifactapi.registry.remote_lists import RemoteLists
from artifactapi.registry.uses import Uses

if TYPE_CHECKING:
    from artifactapi.registry.virtual import Virtual

May = Callable[[ImageName], bool]
"""Whether the caller may pull from that image."""


FAILURES = (BadGateway, GatewayTimeout, TooManyRequests, Denied)
"""What an upstream fails with, other than that it does not have what was asked for."""


def anyone(name: ImageName) -> bool:
    """Whoever asks may."""
    return True


def nobody(name: ImageName) -> bool:
    """What a member is asked with: one that has become virtual itself shows nothing."""
    return False


class Elsewhere:
    """Goes by the repo's type. `uses` remembers what is pulled of what was fetched."""

    virtual: Virtual

    def __init__(self, remote: Remote, lists: RemoteLists, uses: Uses) -> None:
        self._remote = remote
        self._lists = lists
        self.uses = uses

    async def manifest(
        self, repo: Repo, name: ImageName, reference: Digest | Tag, known: Stored | None, may: May
    ) -> Stored:
        """The manifest; `known` is what a remote repo had for the tag. Raises ManifestUnknown, NameUnknown, and what
        an upstream fails with."""
        if repo.repo_type == "virtual":
            return await self.virtual.manifest(repo, name, reference, may)
        return await self._remote.manifest(repo, name, reference, known)

    async def blob(self, repo: Repo, name: ImageName, digest: Digest, may: May, fetch: bool) -> Blob:
        """The blob, or where its bytes come from; only its size is right where it is not to be fetched.

        Raises BlobUnknown, NameUnknown, and what an upstream fails with.
        """
        if repo.repo_type == "virtual":
            return await self.virtual.blob(repo, name, digest, may, fetch)
        return await self._remote.blob(repo, name, digest, fetch)

    async def tags(self, repo: Repo, name: ImageName, page: Page, may: May) -> Listing:
        """A page of tags. Raises NameUnknown, and what an upstream fails with."""
        if repo.repo_type == "virtual":
            return await self.virtual.tags(repo, name, page, may)
        return await self._lists.tags(repo, name, page)

    async def referrers(
        self, repo: Repo, name: ImageName, subject: Digest, may: May
    ) -> tuple[list[dict[str, Any]], str]:
        """The descriptors of what refers to a manifest, and where they come from."""
        if repo.repo_type == "virtual":
            return await self.virtual.referrers_of(repo, name, subject, may)
        return await self._lists.referrers(repo, name, subject)
