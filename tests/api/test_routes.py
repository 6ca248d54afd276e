"""Every route of the daemon: the methods it does not have, and the header every V2 answer has."""

from __future__ import annotations

import pytest

from artifactapi.service import Artifactapi
from tests.api.test_bad_input import TABLE, V
from tests.client import Answer, Client, digest_of

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"}
ADDRESSES = {
    "base": "/v2/",
    "catalog": "/v2/_catalog",
    "tags": f"{V}/tags/list",
    "manifest": f"{V}/manifests/v1",
    "blob": f"{V}/blobs/{digest_of(b'')}",
    "uploads": f"{V}/blobs/uploads/",
    "upload": f"{V}/blobs/uploads/00000000-0000-4000-8000-000000000000",
    "referrers": f"{V}/referrers/{digest_of(b'')}",
    "/api/v1/repos": "/api/v1/repos",
    "/api/v1/repos/<repo>": "/api/v1/repos/docker-internal",
    "/api/v1/gc": "/api/v1/gc",
    "/api/v1/me": "/api/v1/me",
    "/api/v1/users": "/api/v1/users",
    "/api/v1/users/<user>": "/api/v1/users/alice",
    "/api/v1/tokens": "/api/v1/tokens",
    "/api/v1/tokens/<token>": "/api/v1/tokens/1",
    "/api/v1/grants": "/api/v1/grants",
    "/api/v1/grants/<grant>": "/api/v1/grants/1",
    "/api/v1/issuers": "/api/v1/issuers",
    "/api/v1/issuers/<issuer>": "/api/v1/issuers/ci",
    "/api/v1/identities": "/api/v1/identities",
    "/api/v1/identities/<identity>": "/api/v1/identities/build",
    "/api/v1/keys": "/api/v1/keys",
    "/api/v1/audit": "/api/v1/audit",
    "/token": "/token",
    "/healthz": "/healthz",
    "/readyz": "/readyz",
    "/metrics": "/metrics",
}


def all_routes(service: Artifactapi) -> dict[str, set[str]]:
    """The methods of each route, from the route maps themselves."""
    routes = {kind: {method.decode() for method in of} for kind, of in service.v2.routes.items()}
    for endpoint in service.endpoints:
        routes.setdefault(endpoint.path, set()).update(endpoint.methods)
    return routes


def refused(method: str, answer: Answer) -> bool:
    """Whether it is a 405 in the spec's form; HEAD has no body."""
    return answer.status == 405 and (method == "HEAD" or answer.code == "UNSUPPORTED")


async def test_methods_that_are_not_there(client: Client, service: Artifactapi):
    """Each is 405 with the methods that are there in Allow, whatever it carries."""
    routes = all_routes(service)
    assert routes.keys() == ADDRESSES.keys()
    wrong = []
    for route, methods in routes.items():
        for method in sorted(METHODS - methods):
            answer = await client.request(method, ADDRESSES[route], b"x")
            allowed = set(answer.headers.get("Allow", "").split(", "))
            if not refused(method, answer) or allowed != methods:
                wrong.append((route, method, answer.status, allowed))
    assert wrong == []


async def test_the_v2_header(client: Client):
    """Every answer below /v2/ says which API this is, whatever is wrong with the request."""
    paths = [row for row in TABLE if row[2].startswith("/v2/")]
    without = []
    for _, method, path, headers, body, _, _ in paths:
        answer = await client.request(method, path, body, **headers)
        if answer.headers["Docker-Distribution-API-Version"] != "registry/2.0":
            without.append((method, path))
    assert without == []


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/repos", "/v2x"])
async def test_others_do_not_have_it(client: Client, path: str):
    """What is no V2 address does not pretend to be."""
    assert "Docker-Distribution-API-Version" not in (await client.get(path)).headers
