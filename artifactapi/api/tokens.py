"""/api/v1/tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from klein import Response

from artifactapi.access.tokens import Tokens
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import argument, json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.api.token import NO_STORE
from artifactapi.metadata.tokens import Token

PATH = "/api/v1/tokens"


class TokenListRoutes:
    """Parse, call, respond."""

    def __init__(self, tokens: Tokens, guard: Guard) -> None:
        self._tokens = tokens
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "tokens", Rule.ADMIN, self.listing),
            Endpoint(PATH, ("POST",), "tokens", Rule.ADMIN, self.create),
            Endpoint(f"{PATH}/<token>", READS, "token_row", Rule.ADMIN, self.read),
            Endpoint(f"{PATH}/<token>", ("DELETE",), "token_row", Rule.ADMIN, self.delete),
        ]

    async def listing(self, request: Request) -> Response:
        """GET: a page of tokens; ?user= those of a user."""
        last, count = pages.by_number(request)
        user = argument(request, b"user")
        found = await self._tokens.listing(last or 0, count + 1, known(user) if user else None)
        return pages.listing(PATH, "tokens", list(map(to_json, found)), count, user=user)

    async def create(self, request: Request) -> Response:
        """POST: a new token. This is the only answer with its secret."""
        token, secret = await self._tokens.create(json_body(request), self._guard.by(request))
        headers = {"Location": f"{PATH}/{token.id}", **NO_STORE}
        return json_response(201, {**to_json(token), "token": secret}, headers)

    async def read(self, request: Request, token: str) -> Response:
        """GET one."""
        return json_response(200, to_json(await self._tokens.read(pages.number(token))))

    async def delete(self, request: Request, token: str) -> Response:
        """DELETE: revoke it."""
        await self._tokens.delete(pages.number(token), self._guard.by(request))
        return respond(204)


def to_json(token: Token) -> dict[str, Any]:
    """A token as the API shows it; `name` is null for the login of a client."""
    return {
        "id": token.id,
        "name": token.name,
        "user": token.user,
        "scope": token.scope,
        "created_by": token.created_by,
        "created_at": rfc3339(token.created_at),
        "expires_at": optional(token.expires_at),
        "last_used_at": optional(token.last_used_at),
    }


def optional(time: datetime | None) -> str | None:
    """A time that may not be there."""
    return None if time is None else rfc3339(time)
