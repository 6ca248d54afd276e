"""/api/v1/users, and /api/v1/me."""

from __future__ import annotations

from typing import Any

from klein import Response

from artifactapi.access.caller import Caller
from artifactapi.access.users import Users
from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import json_body, known
from artifactapi.api.responses import json_response, respond, rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata.users import User

PATH = "/api/v1/users"


class UserRoutes:
    """Parse, call, respond."""

    def __init__(self, users: Users, guard: Guard) -> None:
        self._users = users
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint("/api/v1/me", READS, "me", Rule.LOGIN, self.me),
            Endpoint(PATH, READS, "users", Rule.ADMIN, self.listing),
            Endpoint(PATH, ("POST",), "users", Rule.ADMIN, self.create),
            Endpoint(f"{PATH}/<user>", READS, "user", Rule.ADMIN, self.read),
            Endpoint(f"{PATH}/<user>", ("PATCH",), "user", Rule.ADMIN, self.change),
            Endpoint(f"{PATH}/<user>", ("DELETE",), "user", Rule.ADMIN, self.delete),
        ]

    async def me(self, request: Request) -> Response:
        """GET: who the caller is, and what he may."""
        caller: Caller = request.caller
        layers = [[grant.to_json() for grant in layer] for layer in caller.layers]
        return json_response(200, {"actor": caller.actor, "credential": caller.credential, "all_of": layers})

    async def listing(self, request: Request) -> Response:
        """GET: a page of users."""
        page = pages.by_name(request)
        found = await self._users.listing(page.last, page.count + 1)
        return pages.listing(PATH, "users", list(map(to_json, found)), page.count, "name")

    async def create(self, request: Request) -> Response:
        """POST: a new user."""
        user = await self._users.create(json_body(request), self._guard.by(request))
        return json_response(201, to_json(user), {"Location": f"{PATH}/{user.name}"})

    async def read(self, request: Request, user: str) -> Response:
        """GET one."""
        return json_response(200, to_json(await self._users.read(known(user))))

    async def change(self, request: Request, user: str) -> Response:
        """PATCH: password, groups, disabled."""
        changed = await self._users.change(known(user), json_body(request), self._guard.by(request))
        return json_response(200, to_json(changed))

    async def delete(self, request: Request, user: str) -> Response:
        """DELETE, with grants and tokens."""
        await self._users.delete(known(user), self._guard.by(request))
        return respond(204)


def to_json(user: User) -> dict[str, Any]:
    """A user as the API shows it."""
    return {
        "name": user.name,
        "groups": user.groups,
        "disabled": user.disabled,
        "created_at": rfc3339(user.created_at),
        "updated_at": rfc3339(user.updated_at),
    }
