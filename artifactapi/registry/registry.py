"""All use cases, made from one database and one store."""

from __future__ import annotations

from dataclasses import dataclass

from artifactapi.metadata.database import Database
from artifactapi.objects.interface import IObjectStore
from artifactapi.registry.blobs import Blobs
from artifactapi.registry.elsewhere import Elsewhere
from artifactapi.registry.manifests import Manifests
from artifactapi.registry.referrers import ReferrersOf
from artifactapi.registry.repos import Repos
from artifactapi.registry.tags import Tags
from artifactapi.registry.uploads import Uploads
from artifactapi.registry.virtual import Virtual
from artifactapi.threads import Threads


@dataclass(frozen=True, slots=True)
class Registry:
    """What the API calls."""

    repos: Repos
    uploads: Uploads
    blobs: Blobs
    manifests: Manifests
    tags: Tags
    referrers: ReferrersOf

    @classmethod
    def over(
        cls,
        database: Database,
        store: IObjectStore,
        hashing: Threads,
        redirect: bool = False,
        lease: float = 86_400,
        largest: int = 0,
        elsewhere: Elsewhere | None = None,
    ) -> Registry:
        """The registry over these parts; `redirect`: pulls go to the store, where a repo does not say otherwise;
        `lease`: seconds that a blob stays when a client was told that it is there; `largest`: bytes that a blob may
        have, 0: any number; `elsewhere`: what is asked where a repo is not local."""
        repos = Repos(database)
        made = cls(
            repos,
            Uploads(database, store, hashing, largest),
            Blobs(database, store, repos, redirect, lease, elsewhere),
            Manifests(database, hashing, repos, elsewhere),
            Tags(database, repos, elsewhere),
            ReferrersOf(database, hashing, repos, elsewhere),
        )
        if elsewhere is not None:
            elsewhere.virtual = Virtual(database, repos, made.manifests, made.blobs, made.tags, made.referrers)
        return made
