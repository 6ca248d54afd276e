"""/api/v1/repos."""

from __future__ import annotations

from typing import Any

from klein import Response

from artifactapi.access.rights import Right
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import flag, json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata.repos import Repo, Usage
from artifactapi.registry.registry import Registry

PATH = "/api/v1/repos"
# What a virtual repo shows, who is told a secret, and for which registry a repo stands.
BEYOND = {"members", "rights", "upstream", "realms", "username", "password_secret", "mirror_of", "hosts"}


class RepoRoutes:
    """Parse, call, respond."""

    def __init__(self, registry: Registry, guard: Guard) -> None:
        self._repos = registry.repos
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "repos", Rule.LOGIN, self.listing),
            Endpoint(PATH, ("POST",), "repos", Rule.ADMIN, self.create),
            Endpoint(f"{PATH}/<repo>", READS, "repo", Rule.REPO, self.read),
            Endpoint(f"{PATH}/<repo>", ("PATCH",), "repo", Rule.REPO, self.change),
            Endpoint(f"{PATH}/<repo>", ("DELETE",), "repo", Rule.REPO, self.delete),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: a page of the repos that the caller administers."""
        page = pages.by_name(request)
        found = await self._repos.listing(page.last, page.count + 1, request.caller.repos(Right.ADMIN))
        return pages.listing(PATH, "repos", [to_json(*each) for each in found], page.count, "name")

    async def create(self, request: Request) -> Response:
        """POST: a new repo."""
        repo = await self._repos.create(json_body(request), self._guard.by(request))
        await self._guard.refresh()
        return json_response(201, to_json(*await self._repos.read(repo.name)), {"Location": f"{PATH}/{repo.name}"})

    async def read(self, request: Request, repo: str) -> Response:
        """GET one."""
        return json_response(200, to_json(*await self._repos.read(known(repo))))

    async def change(self, request: Request, repo: str) -> Response:
        """PATCH: its settings. Those that reach beyond the repo are for who administers all there is."""
        fields = json_body(request)
        if reaches_beyond(fields):
            self._guard.require_repo(request, request.caller, None)
        changed = await self._repos.change(known(repo), fields, self._guard.by(request))
        await self._guard.refresh()
        return json_response(200, to_json(*await self._repos.read(changed.name)))

    async def delete(self, request: Request, repo: str) -> Response:
        """DELETE, with ?force=true even if it holds something."""
        await self._repos.delete(known(repo), flag(request, "force"), self._guard.by(request))
        await self._guard.refresh()
        return respond(204)


def reaches_beyond(fields: object) -> bool:
    """Whether a change of a repo concerns what is in others, or all who use this registry."""
    settings = fields.get("settings") if isinstance(fields, dict) else None
    return isinstance(settings, dict) and not BEYOND.isdisjoint(settings)


def to_json(repo: Repo, usage: Usage) -> dict[str, Any]:
    """A repo as the API shows it; times in RFC 3339, UTC."""
    return {
        "name": repo.name,
        "package_type": repo.package_type,
        "repo_type": repo.repo_type,
        "settings": repo.settings,
        "created_at": rfc3339(repo.created_at),
        "updated_at": rfc3339(repo.updated_at),
        "images": usage.images,
        "tags": usage.tags,
        "manifests": usage.manifests,
        "blobs": usage.blobs,
        "bytes": usage.bytes,
    }
