"""/api/v1/issuers."""

from __future__ import annotations

from typing import Any

from klein import Response

from artifactapi.access.issuers import Issuers
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata.issuers import Issuer

PATH = "/api/v1/issuers"


class IssuerRoutes:
    """Parse, call, respond."""

    def __init__(self, issuers: Issuers, guard: Guard) -> None:
        self._issuers = issuers
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "issuers", Rule.ADMIN, self.listing),
            Endpoint(PATH, ("POST",), "issuers", Rule.ADMIN, self.create),
            Endpoint(f"{PATH}/<issuer>", READS, "issuer", Rule.ADMIN, self.read),
            Endpoint(f"{PATH}/<issuer>", ("DELETE",), "issuer", Rule.ADMIN, self.delete),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: a page of issuers."""
        page = pages.by_name(request)
        found = await self._issuers.listing(page.last, page.count + 1)
        return pages.listing(PATH, "issuers", list(map(to_json, found)), page.count, "name")

    async def create(self, request: Request) -> Response:
        """POST: a new issuer."""
        issuer = await self._issuers.create(json_body(request), self._guard.by(request))
        return json_response(201, to_json(issuer), {"Location": f"{PATH}/{issuer.name}"})

    async def read(self, request: Request, issuer: str) -> Response:
        """GET one."""
        return json_response(200, to_json(await self._issuers.read(known(issuer))))

    async def delete(self, request: Request, issuer: str) -> Response:
        """DELETE, with its identities and their grants."""
        await self._issuers.delete(known(issuer), self._guard.by(request))
        return respond(204)


def to_json(issuer: Issuer) -> dict[str, Any]:
    """An issuer as the API shows it."""
    return {
        "name": issuer.name,
        "url": issuer.url,
        "audience": issuer.audience,
        "jwks_url": issuer.jwks_url,
        "created_at": rfc3339(issuer.created_at),
    }
