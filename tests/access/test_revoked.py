"""What somebody had, and has no more."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.access.policy import Policy
from tests.access.people import API, Administrator, Person
from tests.access.test_attacks import back, refresh_token


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which no replica hears of changes that others make."""

    async def look(policy: Policy) -> None:
        """Hear of nothing."""

    return lambda: monkeypatch.setattr(Policy, "_look", look)


async def test_an_administrator_at_another_replica(admin: Administrator, elsewhere: Person, deaf: Callable[[], None]):
    """Who was one a moment ago changes nothing where that has not been heard of yet."""
    there = elsewhere.showing((await admin.add_user("mallory", admin=True)).header)
    assert (await there.get(f"{API}/users")).status == 200
    deaf()
    assert (await admin.request("DELETE", f"{API}/users/mallory")).status == 204
    answer = await there.call("POST", "/users", name="again", password="long enough", admin=True)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert [user["name"] for user in (await admin.get(f"{API}/users")).json["users"]] == ["root"]


def held_back(person: Person, path: str, meanwhile: Callable[[], object], fields: Any) -> bytes:
    """The answer to a POST whose last byte leaves after `meanwhile`, although its begin was taken before."""
    body = json.dumps(fields).encode()
    head = f"POST {API}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {person.header}\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((person.host, person.port), timeout=30) as wire:
        wire.sendall(f"{head}Connection: close\r\nExpect: 100-continue\r\n\r\n".encode() + body[:-1])
        assert wire.recv(4096).startswith(b"HTTP/1.1 100")
        meanwhile()
        wire.sendall(body[-1:])
        return wire.makefile("rb").read()


@pytest.mark.parametrize("path", ["/users", "/grants"])
async def test_a_body_held_back(admin: Administrator, path: str):
    """A change whose body ends after the rights of its sender have ended is not made."""
    mallory = await admin.add_user("mallory")
    grant = await admin.grant("user:mallory", "*", "admin")
    fields = {
        "/users": {"name": "again", "password": "long enough", "admin": True},
        "/grants": {"to": "user:mallory", "repo": "*", "rights": ["admin"]},
    }
    assert (await mallory.get(f"{API}/users")).status == 200
    revoke = partial(admin.send, "DELETE", f"{API}/grants/{grant}")
    answer = await deferToThread(held_back, mallory, path, revoke, fields[path])
    assert answer.startswith(b"HTTP/1.1 403"), answer
    assert len((await admin.get(f"{API}/grants")).json["grants"]) == 1


@pytest.mark.parametrize("owner", [None, "alice"], ids=["machine", "user"])
async def test_a_login_made_with_a_login(admin: Administrator, nobody: Person, owner: str | None):
    """It does what that one does, and is worth nothing once that is revoked, nor what was made with it."""
    await admin.add_user("alice")
    token = await admin.add_token("ci", **({"user": owner} if owner else {}))
    await admin.grant(f"user:{owner}" if owner else "token:ci", "docker-internal", "pull")
    first = await refresh_token(token)
    second = await refresh_token(nobody.showing(f"Bearer {first}"))
    third = nobody.showing(f"Bearer {await refresh_token(nobody.showing(f'Bearer {second}'))}")
    assert (await third.get(f"{API}/me")).json["actor"] == (f"user:{owner}" if owner else "token:ci")
    found = await admin.get(f"{API}/tokens")
    login, *_ = [token["id"] for token in found.json["tokens"] if token["name"] is None]
    assert (await admin.request("DELETE", f"{API}/tokens/{login}")).status == 204
    for secret in (first, second):
        assert (await back(nobody, secret)).status == 401
    assert (await third.get("/v2/")).status == 401


@pytest.mark.parametrize("owner", [None, "alice"], ids=["machine", "user"])
async def test_a_login_with_a_token_that_is_gone(
    admin: Administrator, elsewhere: Person, deaf: Callable[[], None], owner: str | None
):
    """A replica that has not heard of it yet answers as if the token were not valid."""
    await admin.add_user("alice")
    token = await admin.add_token("ci", **({"user": owner} if owner else {}))
    there = elsewhere.showing(token.header)
    assert (await there.get("/v2/")).status == 200
    deaf()
    assert (await admin.request("DELETE", f"{API}/tokens/{token.number}")).status == 204
    answer = await there.ask(offline_token="true")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
