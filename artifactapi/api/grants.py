"""/api/v1/grants."""

from __future__ import annotations

from typing import Any

from klein import Response

from artifactapi.access.grants import Grants, unknown
from artifactapi.access.rights import Right
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import argument, json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata.grants import Granted

PATH = "/api/v1/grants"


class GrantRoutes:
    """Parse, call, respond. Who administers a repo grants rights to it; who administers all, to all."""

    def __init__(self, grants: Grants, guard: Guard) -> None:
        self._grants = grants
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "grants", Rule.LOGIN, self.listing),
            Endpoint(PATH, ("POST",), "grants", Rule.LOGIN, self.create),
            Endpoint(f"{PATH}/<grant>", READS, "grant", Rule.LOGIN, self.read),
            Endpoint(f"{PATH}/<grant>", ("DELETE",), "grant", Rule.LOGIN, self.delete),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: a page of grants; ?repo= those on a repo, ?to= those to somebody."""
        last, count = pages.by_number(request)
        repo, to = argument(request, b"repo"), argument(request, b"to")
        self._require(request, repo)
        found = await self._grants.listing(
            last or 0, count + 1, known(repo) if repo else None, known(to) if to else None
        )
        return pages.listing(PATH, "grants", list(map(to_json, found)), count, repo=repo, to=to)

    async def create(self, request: Request) -> Response:
        """POST: a new grant."""
        given = json_body(request)
        repo = given.get("repo") if isinstance(given, dict) else None
        self._require(request, repo if isinstance(repo, str) else None)
        grant = await self._grants.create(given, self._guard.by(request))
        return json_response(201, to_json(grant), {"Location": f"{PATH}/{grant.id}"})

    async def read(self, request: Request, grant: str) -> Response:
        """GET one."""
        return json_response(200, to_json(await self._find(request, grant)))

    async def delete(self, request: Request, grant: str) -> Response:
        """DELETE: take it back."""
        found = await self._find(request, grant)
        await self._grants.delete(found.id, self._guard.by(request))
        return respond(204)

    async def _find(self, request: Request, grant: str) -> Granted:
        if request.caller.repos(Right.ADMIN) == []:
            self._require(request, None)  # who administers nothing does not learn which there are
        found = await self._grants.read(pages.number(grant))
        if not request.caller.may_repo(Right.ADMIN, None if found.repo == "*" else found.repo):
            raise unknown(found.id)  # nor, who administers a repo, which there are on others
        return found

    def _require(self, request: Request, repo: str | None) -> None:
        self._guard.require_repo(request, request.caller, None if repo == "*" else repo)


def to_json(grant: Granted) -> dict[str, Any]:
    """A grant as the API shows it."""
    return {
        "id": grant.id,
        "to": grant.to,
        "repo": grant.repo,
        "images": grant.images,
        "rights": grant.rights,
        "created_by": grant.created_by,
        "created_at": rfc3339(grant.created_at),
    }
