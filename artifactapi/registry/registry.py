"""All use cases, made from one database and one store."""

from __future__ import annotations

from dataclasses import dataclass

from artifactapi.metadata.database import Database
from artifactapi.objects.interface import IObjectStore
from artifactapi.registry.blobs import Blobs
from artifactapi.registry.manifests import Manifests
from artifactapi.registry.referrers import ReferrersOf
from artifactapi.registry.remote import Remote
from artifactapi.registry.repos import Repos
from artifactapi.registry.tags import Tags
from artifactapi.registry.uploads import Uploads
from artifactapi.registry.uses import Uses
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
        remote: Remote | None = None,
        uses: Uses | None = None,
    ) -> Registry:
        """The registry over these parts; `redirect`: pulls go to the store, where a repo does not say otherwise;
        `lease`: seconds that a blob stays when a client was told that it is there; `remote`: what remote repos do, and
        `uses`: who remembers what is pulled from them."""
        repos = Repos(database)
        return cls(
            repos,
            Uploads(database, store, hashing),
            Blobs(database, store, repos, redirect, lease, remote, uses),
            Manifests(database, hashing, repos, remote, uses),
            Tags(database, repos, remote),
            ReferrersOf(database, hashing, repos, remote),
        )
