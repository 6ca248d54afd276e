"""The lists of a remote repo: an image's tags, and what refers to a manifest."""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import suppress
from dataclasses import replace
from typing import Any

from artifactapi.metadata import cached
from artifactapi.metadata import manifests as rows
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata import tags as tag_rows
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.repos import Repo
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import NameUnknown, OciError
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.remote import Remote
from artifactapi.registry.remote_settings import RemoteSettings
from artifactapi.registry.source import Source, told
from artifactapi.registry.upstreams import Upstreams
from artifactapi.shield import Shared
from artifactapi.threads import Threads
from artifactapi.upstream.errors import Broken, Limited, NotThere, UpstreamError

Descriptors = list[dict[str, Any]]


class RemoteLists:
    """One answer of the upstream serves for as long as a tag is fresh, and longer if it does not answer."""

    def __init__(self, database: Database, threads: Threads, upstreams: Upstreams, remote: Remote) -> None:
        self._database = database
        self._threads = threads
        self._upstreams = upstreams
        self._remote = remote
        self._asking: Shared[tuple[Source, ImageName], list[str]] = Shared()

    async def tags(self, repo: Repo, name: ImageName, page: Page) -> Listing:
        """A page of the upstream's tags; of those that are cached, if it does not answer."""
        source = await self._upstreams.of(repo)
        if not source.settings.takes(name, None):
            raise NameUnknown("no such image", {"name": str(name)})
        known = source.tags.get(name) or []
        try:
            found = known or await source.once(("tags", name), lambda: self._all_tags(source, name))
        except NotThere:
            raise NameUnknown("no such image", {"name": str(name)}) from None
        except UpstreamError as error:
            listing = await tag_rows.listing(self._database, name, page.last, page.count)
            if listing is None or not isinstance(error, Broken | Limited):
                raise told(error) from None
            shown = await self._threads.run(taken, source.settings, name, json.loads(listing.names))
            return replace(listing, names=json.dumps(shown), source="stale")
        first = bisect_right(found, page.last)
        shown = found[first : first + page.count]
        more = first + len(shown) < len(found)
        return Listing(json.dumps(shown), shown[-1] if shown else "", more, "hit" if known else "miss")

    async def referrers(self, repo: Repo, name: ImageName, subject: Digest) -> tuple[Descriptors, str]:
        """What the upstream says refers to a manifest, or has said last if it does not answer; and which it is.

        If it has no such API, that is nothing; yet its fallback tag is cached then, if it has one.
        """
        source, question = await self._upstreams.of(repo), ("referrers", name, str(subject))
        if not source.settings.takes(name, None):
            return [], "hit"
        known = await cached.referrers(self._database, name, subject)
        if known is not None and known.age <= source.settings.tag_ttl:
            return known.descriptors, "hit"
        try:
            found = await source.once(question, lambda: self._referrers(source, name, subject, known is not None))
        except NotThere:
            return [], "hit"
        except UpstreamError:
            await self._refresh(repo, name, fallback(subject))
            is_recent = known is not None and known.age <= source.settings.max_stale
            return known.descriptors if known is not None and is_recent else [], "stale"
        if found is None:
            await self._refresh(repo, name, fallback(subject))
        else:
            await self._keep(source, name, subject, found)
        return found or [], "miss"

    async def _all_tags(self, source: Source, name: ImageName) -> list[str]:
        async def ask() -> list[str]:
            found = await source.ask(lambda: source.upstream.tags(name.image))
            names = await self._threads.run(taken, source.settings, name, found)
            source.tags.put(name, names, source.settings.tag_ttl)
            return names

        return await self._asking.run((source, name), ask)

    async def _referrers(self, source: Source, name: ImageName, subject: Digest, were_any: bool) -> Descriptors | None:
        """Raises NotThere if there are none, and none were known."""
        found = await source.ask(lambda: source.upstream.referrers(name.image, subject))
        if found == [] and not were_any:
            raise NotThere("nothing refers to it")
        return found

    async def _refresh(self, repo: Repo, name: ImageName, tag: Tag) -> None:
        known = await rows.find(self._database, name, tag)
        if known is None or not known.fresh:
            with suppress(OciError):
                await self._remote.manifest(repo, name, tag, known)

    async def _keep(self, source: Source, name: ImageName, subject: Digest, found: Descriptors) -> None:
        async def work(transaction: Transaction) -> None:
            held = await repo_rows.hold(transaction, source.repo)
            image = await rows.image_id(transaction, name, "remote") if held else None
            if image is not None:
                await cached.keep_referrers(transaction, image, subject, found)

        await self._database.transaction(work)


def taken(settings: RemoteSettings, name: ImageName, tags: list[str]) -> list[str]:
    """Those that may be pulled. For a thread."""
    return [tag for tag in tags if settings.takes(name, tag)]


def fallback(subject: Digest) -> Tag:
    """The tag that clients older than the referrers API use."""
    return Tag(f"{subject.algorithm}-{subject.hex[:64]}")
