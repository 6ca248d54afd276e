"""/api/v1/keys: the key pairs that sign our bearer tokens."""

from __future__ import annotations

from klein import Response

from artifactapi.access.keys import Keys
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import flag
from artifactapi.api.responses import json_response, rfc3339
from artifactapi.api.site import Request

PATH = "/api/v1/keys"


class KeyRoutes:
    """Parse, call, respond."""

    def __init__(self, keys: Keys, guard: Guard) -> None:
        self._keys = keys
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "keys", Rule.ADMIN, self.listing),
            Endpoint(PATH, ("POST",), "keys", Rule.ADMIN, self.rotate),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: those that are believed, newest first."""
        shown = [{"id": key.id, "created_at": rfc3339(key.created_at)} for key in await self._keys.listing()]
        return json_response(200, {"keys": shown})

    async def rotate(self, request: Request) -> Response:
        """POST: a new one signs as soon as all replicas know it. With ?revoke=true no other is believed: clients get
        new bearer tokens by what they logged in with; what an issuer's token was exchanged for is worth nothing."""
        return json_response(201, {"id": await self._keys.rotate(flag(request, "revoke"), self._guard.by(request))})
