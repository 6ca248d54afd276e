"""What a client is told that has to show something else than it did."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

import pytest
import pytest_twisted

from tests.client import Answer, Client

PASSWORD = "correct horse battery"
BASIC = "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()
APP, OTHER = "docker-internal/app", "other/app"


@pytest_twisted.async_yield_fixture
async def guarded(client: Client):
    """A client of a registry with an account: admin."""
    assert (await client.request("POST", "/api/v1/users", ADMIN)).status == 201
    yield client


ADMIN = f'{{"name": "admin", "password": "{PASSWORD}", "admin": true}}'.encode()


async def bearer(client: Client, *scopes: str) -> str:
    """The header with a token of admin's for these scopes."""
    answer = await client.get("/token?" + urlencode([("scope", scope) for scope in scopes]), authorization=BASIC)
    return f"Bearer {answer.json['token']}"


async def mount(client: Client, digest: str, source: str, authorization: str) -> Answer:
    """Mount a blob into OTHER."""
    path = f"/v2/{OTHER}/blobs/uploads/?mount={digest}&from={source}"
    return await client.request("POST", path, authorization=authorization)


async def push(client: Client) -> str:
    """Push a blob to APP; its digest."""
    digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    path = f"/v2/{APP}/blobs/uploads/?digest={digest}"
    assert (await client.request("POST", path, b"hello", authorization=BASIC)).status == 201
    return digest


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", f"/v2/{APP}/manifests/v1", f"repository:{APP}:pull"),
        ("POST", f"/v2/{APP}/blobs/uploads/", f"repository:{APP}:pull,push"),
        ("DELETE", f"/v2/{APP}/manifests/v1", f"repository:{APP}:delete"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ],
)
async def test_the_scope(guarded: Client, method: str, path: str, scope: str):
    """A challenge says for what a token has to be, in its header and in the error's detail (docker tries an upload
    again for a minute when the error has none)."""
    answer = await guarded.request(method, path)
    assert answer.status == 401
    realm = f"http://127.0.0.1:{guarded.port}/token"
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{realm}",service="artifactapi",scope="{scope}"'
    assert answer.json["errors"][0]["detail"] == {"scope": scope}


async def test_a_mount_from_what_the_token_is_not_for(guarded: Client):
    """A mount from an image one may pull is told to ask for both scopes, and with such a token succeeds."""
    digest = await push(guarded)
    answer = await mount(guarded, digest, APP, await bearer(guarded, f"repository:{OTHER}:pull,push"))
    both = f"repository:{OTHER}:pull,push repository:{APP}:pull"
    assert answer.status == 401
    assert f'scope="{both}",error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert (await mount(guarded, digest, APP, await bearer(guarded, both))).status == 201


@pytest.mark.parametrize("source", ["docker-internal", "-", "docker-internal/elsewhere"])
async def test_a_mount_from_nothing(guarded: Client, source: str):
    """A mount from what is not there, with a token for it as far as there can be one, is an upload session."""
    digest = await push(guarded)
    scopes = f"repository:{OTHER}:pull,push", f"repository:{source}:pull"
    assert (await mount(guarded, digest, source, await bearer(guarded, *scopes))).status == 202


async def test_a_mount_from_what_may_not_be_seen(guarded: Client):
    """Who may not pull from the source of a mount gets an upload session, whether the image is there or not."""
    digest = await push(guarded)
    token = await guarded.request("POST", "/api/v1/tokens", b'{"name": "ci"}', authorization=BASIC)
    grant = b'{"to": "token:ci", "repo": "other", "rights": ["push"]}'
    assert (await guarded.request("POST", "/api/v1/grants", grant, authorization=BASIC)).status == 201
    for source in (APP, "docker-internal/elsewhere"):
        assert (await mount(guarded, digest, source, f"Bearer {token.json['token']}")).status == 202
