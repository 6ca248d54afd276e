"""What refers to a manifest: by `subject`, and by the fallback tag of older clients."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from artifactapi.metadata import manifests as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.manifests import Referrer, Stored
from artifactapi.oci.descriptors import listed
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName
from artifactapi.registry.elsewhere import Elsewhere, May, anyone
from artifactapi.registry.remote_lists import fallback
from artifactapi.registry.repos import Repos
from artifactapi.threads import Threads

Descriptor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Referrers:
    """A page of descriptors, by digest, and whether others follow. `source`: as that of a manifest."""

    descriptors: list[Descriptor]
    more: bool
    source: str = "local"


class ReferrersOf:
    """The referrers API (end-point 12)."""

    def __init__(self, database: Database, threads: Threads, repos: Repos, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._database = database
        self._threads = threads
        self._repos = repos

    async def listing(
        self, name: ImageName, subject: Digest, artifact_type: str | None, last: str, count: int, may: May = anyone
    ) -> Referrers:
        """Up to `count` descriptors after digest `last`; none for an unknown subject or image. Raises NameUnknown."""
        found = await rows.referrers(self._database, name, subject, artifact_type, last, count + 1)
        merged = {referrer.digest: descriptor(referrer) for referrer in found}
        others, source = await self._others(name, subject, may)
        for entry in [*others, *await self._folded(name, subject)]:
            if entry["digest"] > last and artifact_type in (None, entry.get("artifactType")):
                merged.setdefault(entry["digest"], entry)
        if not merged:
            await self._repos.require(name)
        page = [merged[digest] for digest in sorted(merged)]
        return Referrers(page[:count], len(page) > count, source)

    async def _others(self, name: ImageName, subject: Digest, may: May) -> tuple[list[Descriptor], str]:
        """Those that the upstream of a remote repo knows, or the members of a virtual one."""
        if self._elsewhere is None or (repo := await self._repos.require(name)).repo_type == "local":
            return [], "local"
        return await self._elsewhere.referrers(repo, name, subject, may)

    async def _folded(self, name: ImageName, subject: Digest) -> list[Descriptor]:
        # Clients older than the referrers API keep an index under the tag <algorithm>-<64 hex digits> instead.
        stored = await rows.find(self._database, name, fallback(subject))
        return await self._threads.run(descriptors, stored) if stored else []


def descriptor(referrer: Referrer) -> Descriptor:
    """The descriptor the list shows."""
    shown: Descriptor = {"mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size}
    if referrer.artifact_type is not None:
        shown["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        shown["annotations"] = referrer.annotations
    return shown


def descriptors(stored: Stored) -> list[Descriptor]:
    """The well-formed descriptors of a fallback tag's index; whatever else is under the tag has none."""
    content = json.loads(stored.content)  # it was checked when it was pushed
    entries = content.get("manifests") if isinstance(content, dict) else None
    found = map(listed, entries) if isinstance(entries, list) else ()
    return [entry for entry in found if entry is not None]
