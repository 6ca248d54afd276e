"""The lists of a remote repo: an image's tags, and what refers to a manifest."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from artifactapi.metadata import cached
from artifactapi.metadata import manifests as rows
from artifactapi.metadata import tags as tag_rows
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.repos import Repo
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import NameUnknown, OciError
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.remote import Remote
from artifactapi.registry.upstreams import Source, Upstreams, told
from artifactapi.upstream.errors import NotThere, UpstreamError

MOST_LISTS = 100
Descriptors = list[dict[str, Any]]


class RemoteLists:
    """One answer of the upstream serves for as long as a tag is fresh, and longer if it does not answer."""

    def __init__(self, database: Database, upstreams: Upstreams, remote: Remote, reactor: Any) -> None:
        self._database = database
        self._upstreams = upstreams
        self._remote = remote
        self._reactor = reactor

    async def tags(self, repo: Repo, name: ImageName, page: Page) -> Listing:
        """A page of the upstream's tags; of those that are cached, if it does not answer."""
        source = await self._upstreams.of(repo)
        if not source.settings.takes(name, None):
            raise NameUnknown("no such image", {"name": str(name)})
        try:
            found = await self._all_tags(source, name)
        except NotThere:
            raise NameUnknown("no such image", {"name": str(name)}) from None
        except UpstreamError as error:
            listing = await tag_rows.listing(self._database, name, page.last, page.count)
            if listing is None:
                raise told(error) from None
            return listing
        names = [tag.name for tag in found if tag.name > page.last and source.settings.takes(name, tag.name)]
        shown = names[: page.count]
        return Listing(json.dumps(shown), shown[-1] if shown else "", len(names) > len(shown))

    async def referrers(self, repo: Repo, name: ImageName, subject: Digest) -> Descriptors:
        """What the upstream says refers to a manifest, or has said last if it does not answer.

        If it has no such API, that is nothing; yet its fallback tag is cached then, if it has one.
        """
        source, question = await self._upstreams.of(repo), (name, f"referrers of {subject}")
        if not source.settings.takes(name, None) or question in source.misses:
            return []
        known = await cached.referrers(self._database, name, subject)
        if known is not None and known.age <= source.settings.tag_ttl:
            return known.descriptors
        try:
            found = await source.ask(lambda: source.upstream.referrers(name.image, subject))
        except UpstreamError:
            await self._refresh(repo, name, fallback(subject))
            return known.descriptors if known is not None and known.age <= source.settings.max_stale else []
        if found is None:
            await self._refresh(repo, name, fallback(subject))
        elif not found and known is None:
            source.misses.add(question, source.settings.negative_ttl)
        else:
            await self._keep(name, subject, found)
        return found or []

    async def _all_tags(self, source: Source, name: ImageName) -> list[Tag]:
        known = source.lists.get(name)
        if known is None or known[0] <= self._reactor.seconds():
            found = await source.ask(lambda: source.upstream.tags(name.image))
            if len(source.lists) >= MOST_LISTS:
                source.lists.clear()
            known = source.lists[name] = self._reactor.seconds() + source.settings.tag_ttl, found
        return known[1]

    async def _refresh(self, repo: Repo, name: ImageName, tag: Tag) -> None:
        known = await rows.find(self._database, name, tag)
        if known is None or not known.fresh:
            with suppress(OciError):
                await self._remote.manifest(repo, name, tag, known)

    async def _keep(self, name: ImageName, subject: Digest, found: Descriptors) -> None:
        async def work(transaction: Transaction) -> None:
            image = await rows.image_id(transaction, name, "remote")
            if image is not None:
                await cached.keep_referrers(transaction, image, subject, found)

        await self._database.transaction(work)


def fallback(subject: Digest) -> Tag:
    """The tag that clients older than the referrers API use."""
    return Tag(f"{subject.algorithm}-{subject.hex[:64]}")
