"""Clients that show who they are, and how they came to it."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from tests.client import Answer, Body, Client

API = "/api/v1"
PASSWORD = "correct horse"
FORM = "application/x-www-form-urlencoded"


class Person(Client):
    """A client that shows `header` with every request; None: nothing."""

    def __init__(self, client: Client, header: str | None = None) -> None:
        super().__init__(client.host, client.port)
        self.header = header

    def send(self, method: str, path: str, body: Body = None, headers: Any = None) -> Answer:
        """One request, blocking."""
        shown = {"Authorization": self.header} if self.header else {}
        return super().send(method, path, body, {**shown, **(headers or {})})

    def call(self, method: str, path: str, **fields: Any) -> Deferred[Answer]:
        """A request to the management API with these fields as its JSON."""
        return self.request(method, f"{API}{path}", json.dumps(fields).encode())

    async def make(self, path: str, **fields: Any) -> Any:
        """What a POST with these fields has made."""
        answer = await self.call("POST", path, **fields)
        assert answer.status == 201, answer.body
        return answer.json

    def ask(self, *scopes: str, **params: str) -> Deferred[Answer]:
        """GET /token for these scopes."""
        query = urlencode([("service", "artifactapi"), *(("scope", scope) for scope in scopes), *params.items()])
        return self.get(f"/token?{query}")

    async def bearer(self, *scopes: str) -> Person:
        """The same person with a bearer token that was asked for these scopes."""
        answer = await self.ask(*scopes)
        assert answer.status == 200, answer.body
        return Person(self, f"Bearer {answer.json['token']}")

    def post(self, **form: str) -> Deferred[Answer]:
        """POST /token with this form."""
        return self.request("POST", "/token", urlencode(form).encode(), content_type=FORM)

    def showing(self, header: str | None) -> Person:
        """Somebody else at the same registry."""
        return Person(self, header)

    def user(self, name: str, password: str = PASSWORD) -> Person:
        """A user of the same registry."""
        return Person(self, basic(name, password))


class Administrator(Person):
    """Makes accounts, and gives rights to them."""

    async def add_user(self, name: str, password: str = PASSWORD, **fields: Any) -> Person:
        """A new user."""
        await self.make("/users", name=name, password=password, **fields)
        return self.user(name, password)

    async def add_token(self, name: str, **fields: Any) -> Token:
        """A new token, whoever's it is."""
        made = await self.make("/tokens", name=name, **fields)
        return Token(self, made["id"], made["token"])

    async def grant(self, to: str, repo: str, *rights: str, images: str = "*") -> int:
        """A new grant's id."""
        made = await self.make("/grants", to=to, repo=repo, images=images, rights=list(rights))
        return int(made["id"])

    async def publish(self, repo: str) -> None:
        """Let everybody pull from it."""
        answer = await self.call("PATCH", f"/repos/{repo}", settings={"anonymous_pull": True})
        assert answer.status == 200, answer.body

    async def audit(self, query: str = "") -> list[dict[str, Any]]:
        """The audit's entries, newest first."""
        answer = await self.get(f"{API}/audit?{query}")
        assert answer.status == 200, answer.body
        return list(answer.json["entries"])


class Token(Person):
    """Whoever shows a token's secret as a bearer token."""

    def __init__(self, client: Client, number: int, secret: str) -> None:
        super().__init__(client, f"Bearer {secret}")
        self.number = number
        self.secret = secret


def basic(name: str, password: str = PASSWORD) -> str:
    """The header of a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def first_administrator(client: Client) -> Administrator:
    """The one whose account ends the time in which everybody may do everything."""
    await Person(client).make("/users", name="root", password=PASSWORD, admin=True)
    return Administrator(client, basic("root"))
