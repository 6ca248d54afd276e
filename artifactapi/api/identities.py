"""/api/v1/identities."""

from __future__ import annotations

from typing import Any

from klein import Response

from artifactapi.access.identities import Identities
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata.issuers import Identity

PATH = "/api/v1/identities"


class IdentityRoutes:
    """Parse, call, respond."""

    def __init__(self, identities: Identities, guard: Guard) -> None:
        self._identities = identities
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "identities", Rule.ADMIN, self.listing),
            Endpoint(PATH, ("POST",), "identities", Rule.ADMIN, self.create),
            Endpoint(f"{PATH}/<identity>", READS, "identity", Rule.ADMIN, self.read),
            Endpoint(f"{PATH}/<identity>", ("DELETE",), "identity", Rule.ADMIN, self.delete),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: a page of identities."""
        page = pages.by_name(request)
        found = await self._identities.listing(page.last, page.count + 1)
        return pages.listing(PATH, "identities", list(map(to_json, found)), page.count, "name")

    async def create(self, request: Request) -> Response:
        """POST: a new identity."""
        identity = await self._identities.create(json_body(request), self._guard.by(request))
        return json_response(201, to_json(identity), {"Location": f"{PATH}/{identity.name}"})

    async def read(self, request: Request, identity: str) -> Response:
        """GET one."""
        return json_response(200, to_json(await self._identities.read(known(identity))))

    async def delete(self, request: Request, identity: str) -> Response:
        """DELETE, with its grants."""
        await self._identities.delete(known(identity), self._guard.by(request))
        return respond(204)


def to_json(identity: Identity) -> dict[str, Any]:
    """An identity as the API shows it."""
    return {
        "name": identity.name,
        "issuer": identity.issuer,
        "claims": identity.claims,
        "created_at": rfc3339(identity.created_at),
    }
