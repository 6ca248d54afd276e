"""/api/v1/repos."""

from __future__ import annotations

import json
from typing import Any

from klein import Response

from artifactapi.access.rights import Right
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.responses import json_response, next_link, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.api.uploads import argument
from artifactapi.metadata.repos import Repo, Usage
from artifactapi.oci.errors import BadRequest, BodyTooLarge
from artifactapi.oci.ranges import parse_page
from artifactapi.registry.registry import Registry

MOST_BYTES = 1024 * 1024
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
        page = parse_page(argument(request, b"n"), argument(request, b"last"), 100, 1000)
        administered = request.caller.repos(Right.ADMIN)
        repos = await self._repos.listing(page.last.replace("\0", ""), page.count + 1, administered)
        shown = [to_json(repo, usage) for repo, usage in repos[: page.count]]
        more = len(repos) > page.count and page.count > 0
        headers = next_link(PATH, n=page.count, last=shown[-1]["name"]) if more else {}
        return json_response(200, {"repos": shown}, headers)

    async def create(self, request: Request) -> Response:
        """POST: a new repo."""
        repo = await self._repos.create(await json_body(request), self._guard.by(request))
        await self._guard.refresh()
        return json_response(201, to_json(*await self._repos.read(repo.name)), {"Location": f"{PATH}/{repo.name}"})

    async def read(self, request: Request, repo: str) -> Response:
        """GET one."""
        return json_response(200, to_json(*await self._repos.read(known(repo))))

    async def change(self, request: Request, repo: str) -> Response:
        """PATCH: its settings. Those that reach beyond the repo are for who administers all there is."""
        fields = await json_body(request)
        if reaches_beyond(fields):
            self._guard.require_repo(request, request.caller, None)
        changed = await self._repos.change(known(repo), fields, self._guard.by(request))
        await self._guard.refresh()
        return json_response(200, to_json(*await self._repos.read(changed.name)))

    async def delete(self, request: Request, repo: str) -> Response:
        """DELETE, with ?force=true even if it holds something."""
        force = argument(request, b"force")
        if force not in (None, "true", "false"):
            raise BadRequest("force must be true or false", {"parameter": "force"})
        await self._repos.delete(known(repo), force == "true", self._guard.by(request))
        await self._guard.refresh()
        return respond(204)


def known(name: str) -> str:
    """A name the database can be asked for; no repo has a NUL in its name."""
    return name.replace("\0", "�")


def reaches_beyond(fields: object) -> bool:
    """Whether a change of a repo concerns what is in others, or all who use this registry."""
    settings = fields.get("settings") if isinstance(fields, dict) else None
    return isinstance(settings, dict) and not BEYOND.isdisjoint(settings)


async def json_body(request: Request) -> Any:
    """The request's JSON. Raises BadRequest, BodyTooLarge."""
    body = await request.body.read_all(MOST_BYTES, BodyTooLarge(f"the body has more than {MOST_BYTES} bytes"))
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None


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
