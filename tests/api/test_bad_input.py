"""What a client should not send, over every route: the right 4xx in its own format, and nothing left behind."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.client import OCI_MANIFEST, Answer, Client, digest_of

NAME = "docker-internal/team/app"
V = f"/v2/{NAME}"
DIGEST, ABSENT = digest_of(b"blob"), "sha256:" + "0" * 64
GONE = f"{V}/blobs/uploads/00000000-0000-4000-8000-000000000000"
LONG = "a" * 300

# Of each route and method what is wrong with it: (route, method, path, headers, body, status, code).
TABLE: list[tuple[str, str, str, dict[str, str], bytes | None, int, str]] = [
    ("base", "DELETE", "/v2/", {}, None, 405, "UNSUPPORTED"),
    ("base", "GET", "/v2/nonsense", {}, None, 404, "NOT_FOUND"),
    ("base", "HEAD", "/v2//", {}, None, 404, ""),
    ("catalog", "GET", "/v2/_catalog?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("catalog", "GET", "/v2/_catalog?n=-1", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("catalog", "GET", "/v2/_catalog?last=%00", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("catalog", "HEAD", "/v2/_catalog?n=", {}, None, 400, ""),
    ("tags", "GET", f"{V}/tags/list?n=1.5", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("tags", "GET", f"{V}/tags/list?last=a%00", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("tags", "GET", "/v2/Docker/App/tags/list", {}, None, 400, "NAME_INVALID"),
    ("tags", "GET", "/v2/docker-internal/tags/list", {}, None, 404, "NAME_UNKNOWN"),
    ("tags", "HEAD", f"/v2/docker-internal/{LONG}/tags/list", {}, None, 400, ""),
    ("manifest", "GET", f"{V}/manifests/sha256:short", {}, None, 400, "DIGEST_INVALID"),
    ("manifest", "GET", f"{V}/manifests/-x", {}, None, 400, "TAG_INVALID"),
    ("manifest", "GET", f"{V}/manifests/{LONG}", {}, None, 400, "TAG_INVALID"),
    ("manifest", "GET", f"{V}/manifests/%00", {}, None, 400, "TAG_INVALID"),
    ("manifest", "GET", f"{V}/manifests/%FF", {}, None, 400, "TAG_INVALID"),
    ("manifest", "GET", "/v2/docker-internal/../x/manifests/v1", {}, None, 400, "NAME_INVALID"),
    ("manifest", "GET", "/v2/docker-internal//x/manifests/v1", {}, None, 400, "NAME_INVALID"),
    ("manifest", "GET", "/v2/docker-internal%2Fx/manifests/v1", {}, None, 400, "NAME_INVALID"),
    ("manifest", "HEAD", f"{V}/manifests/:", {}, None, 400, ""),
    ("manifest", "PUT", f"{V}/manifests/v1", {}, b"", 400, "MANIFEST_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1", {"Content-Type": OCI_MANIFEST}, b"{", 400, "MANIFEST_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1", {"Content-Type": "nonsense"}, b"{}", 400, "MANIFEST_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1", {"Content-Type": "a/b"}, b"[]", 400, "MANIFEST_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/{ABSENT}", {"Content-Type": "a/b"}, b"{}", 400, "DIGEST_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/a%20b", {"Content-Type": "a/b"}, b"{}", 400, "TAG_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1?tag=%FF", {"Content-Type": "a/b"}, b"{}", 400, "TAG_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1?tag=a+b", {"Content-Type": "a/b"}, b"{}", 400, "TAG_INVALID"),
    ("manifest", "PUT", f"{V}/manifests/v1", {"Content-Type": "a/b"}, b" " * 4_194_305, 413, "SIZE_INVALID"),
    ("manifest", "DELETE", f"{V}/manifests/sha512:{'0' * 64}", {}, None, 400, "DIGEST_INVALID"),
    ("manifest", "POST", f"{V}/manifests/v1", {}, b"x", 405, "UNSUPPORTED"),
    ("blob", "GET", f"{V}/blobs/latest", {}, None, 400, "DIGEST_INVALID"),
    ("blob", "GET", f"{V}/blobs/{DIGEST}", {"Range": "bytes=9-"}, None, 416, "RANGE_INVALID"),
    ("blob", "GET", f"{V}/blobs/{DIGEST.upper()}", {}, None, 400, "DIGEST_INVALID"),
    ("blob", "GET", f"{V}/blobs/{ABSENT}", {}, None, 404, "BLOB_UNKNOWN"),
    ("blob", "HEAD", f"{V}/blobs/md5:{'0' * 32}", {}, None, 400, ""),
    ("blob", "DELETE", f"{V}/blobs/x", {}, None, 400, "DIGEST_INVALID"),
    ("blob", "PUT", f"{V}/blobs/{DIGEST}", {}, b"x" * 100_000, 405, "UNSUPPORTED"),
    ("uploads", "POST", f"{V}/blobs/uploads/?digest=x", {}, b"x", 400, "DIGEST_INVALID"),
    ("uploads", "POST", f"{V}/blobs/uploads/?digest={ABSENT}", {}, b"x" * 100_000, 400, "DIGEST_INVALID"),
    ("uploads", "POST", f"{V}/blobs/uploads/?digest-algorithm=%00", {}, None, 400, "DIGEST_INVALID"),
    ("uploads", "POST", f"{V}/blobs/uploads/?mount=%00", {}, None, 400, "DIGEST_INVALID"),
    ("uploads", "POST", "/v2/UPPER/x/blobs/uploads/", {}, None, 400, "NAME_INVALID"),
    ("uploads", "GET", f"{V}/blobs/uploads/", {}, None, 405, "UNSUPPORTED"),
    ("upload", "GET", f"{V}/blobs/uploads/%00", {}, None, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("upload", "HEAD", f"{V}/blobs/uploads/{LONG}", {}, None, 404, ""),
    ("upload", "PATCH", GONE, {"Content-Range": "bananas"}, b"x", 400, "BLOB_UPLOAD_INVALID"),
    ("upload", "PATCH", GONE, {"Content-Range": "5-1"}, b"x", 416, "BLOB_UPLOAD_INVALID"),
    ("upload", "PATCH", GONE, {"Content-Range": "0-5"}, b"x", 400, "SIZE_INVALID"),
    ("upload", "PATCH", GONE, {"Content-Range": "0-" + "9" * 30}, b"x", 400, "BLOB_UPLOAD_INVALID"),
    ("upload", "PATCH", GONE, {}, b"x" * 1_000_000, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("upload", "PUT", GONE, {}, b"x", 400, "DIGEST_INVALID"),
    ("upload", "PUT", f"{GONE}?digest=x", {}, b"x", 400, "DIGEST_INVALID"),
    ("upload", "PUT", f"{GONE}?digest={ABSENT}", {}, b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("upload", "DELETE", GONE, {}, None, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("referrers", "GET", f"{V}/referrers/latest", {}, None, 400, "DIGEST_INVALID"),
    ("referrers", "GET", f"{V}/referrers/{ABSENT}?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("referrers", "GET", f"{V}/referrers/{ABSENT}?artifactType=%00", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("referrers", "HEAD", f"{V}/referrers/x", {}, None, 400, ""),
    ("/api/v1/repos", "GET", "/api/v1/repos?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/repos", "HEAD", "/api/v1/repos?n=-2", {}, None, 400, ""),
    ("/api/v1/repos", "POST", "/api/v1/repos", {}, b"{}", 400, "FIELD_INVALID"),
    ("/api/v1/repos", "PUT", "/api/v1/repos", {}, b"{}", 405, "UNSUPPORTED"),
    ("/api/v1/repos/<repo>", "GET", "/api/v1/repos/a%00b", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/repos/<repo>", "GET", "/api/v1/repos/a/b", {}, None, 404, "NOT_FOUND"),
    ("/api/v1/repos/<repo>", "HEAD", "/api/v1/repos/%FF", {}, None, 404, ""),
    ("/api/v1/repos/<repo>", "PATCH", "/api/v1/repos/other", {}, b"\x80", 400, "BAD_REQUEST"),
    ("/api/v1/repos/<repo>", "DELETE", "/api/v1/repos/other?force=1", {}, None, 400, "BAD_REQUEST"),
    ("/api/v1/gc", "GET", "/api/v1/gc/x", {}, None, 404, "NOT_FOUND"),
    ("/api/v1/gc", "HEAD", "/api/v1/gc/x", {}, None, 404, ""),
    ("/api/v1/gc", "POST", "/api/v1/gc?dry_run=1", {}, b"", 400, "BAD_REQUEST"),
    ("/api/v1/issuers", "GET", "/api/v1/issuers?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/issuers", "HEAD", "/api/v1/issuers?n=-2", {}, None, 400, ""),
    ("/api/v1/issuers", "POST", "/api/v1/issuers", {}, b"[]", 400, "FIELD_INVALID"),
    ("/api/v1/issuers", "POST", "/api/v1/issuers", {}, b"x" * 100_000, 400, "BAD_REQUEST"),
    ("/api/v1/issuers/<issuer>", "GET", "/api/v1/issuers/a%00b", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/issuers/<issuer>", "HEAD", "/api/v1/issuers/%FF", {}, None, 404, ""),
    ("/api/v1/issuers/<issuer>", "DELETE", f"/api/v1/issuers/{LONG}", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/identities", "GET", "/api/v1/identities?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/identities", "HEAD", "/api/v1/identities?n=-2", {}, None, 400, ""),
    ("/api/v1/identities", "POST", "/api/v1/identities", {}, b"[]", 400, "FIELD_INVALID"),
    ("/api/v1/identities", "POST", "/api/v1/identities", {}, b"x" * 100_000, 400, "BAD_REQUEST"),
    ("/api/v1/identities/<identity>", "GET", "/api/v1/identities/a%00b", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/identities/<identity>", "HEAD", "/api/v1/identities/%FF", {}, None, 404, ""),
    ("/api/v1/identities/<identity>", "DELETE", f"/api/v1/identities/{LONG}", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/me", "GET", "/api/v1/me/x", {}, None, 404, "NOT_FOUND"),
    ("/api/v1/me", "HEAD", "/api/v1/me%00", {}, None, 404, ""),
    ("/api/v1/users", "GET", "/api/v1/users?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/users", "HEAD", "/api/v1/users?n=-1", {}, None, 400, ""),
    ("/api/v1/users", "POST", "/api/v1/users", {}, b'{"name": "a\\u0000b", "password": "x"}', 400, "FIELD_INVALID"),
    ("/api/v1/users/<user>", "GET", "/api/v1/users/a%00b", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/users/<user>", "HEAD", "/api/v1/users/%FF", {}, None, 404, ""),
    ("/api/v1/users/<user>", "PATCH", "/api/v1/users/nobody", {}, b"{", 400, "BAD_REQUEST"),
    ("/api/v1/users/<user>", "PATCH", "/api/v1/users/%00", {}, b"{}", 404, "NAME_UNKNOWN"),
    ("/api/v1/users/<user>", "DELETE", f"/api/v1/users/{LONG}", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/tokens", "GET", "/api/v1/tokens?last=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/tokens", "HEAD", f"/api/v1/tokens?last={'9' * 30}", {}, None, 400, ""),
    ("/api/v1/tokens", "POST", "/api/v1/tokens", {}, b'{"name": "x", "expires_in": 1e9}', 400, "FIELD_INVALID"),
    ("/api/v1/tokens/<token>", "GET", f"/api/v1/tokens/{'9' * 30}", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/tokens/<token>", "HEAD", "/api/v1/tokens/-1", {}, None, 404, ""),
    ("/api/v1/tokens/<token>", "DELETE", "/api/v1/tokens/%C2%B2", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/grants", "GET", "/api/v1/grants?n=x", {}, None, 400, "PAGINATION_NUMBER_INVALID"),
    ("/api/v1/grants", "HEAD", "/api/v1/grants?last=%00", {}, None, 400, ""),
    ("/api/v1/grants", "POST", "/api/v1/grants", {}, b'{"repo": ["other"], "to": 1}', 400, "FIELD_INVALID"),
    ("/api/v1/grants/<grant>", "GET", "/api/v1/grants/%00", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/grants/<grant>", "HEAD", "/api/v1/grants/1.5", {}, None, 404, ""),
    ("/api/v1/grants/<grant>", "DELETE", "/api/v1/grants/x", {}, None, 404, "NAME_UNKNOWN"),
    ("/api/v1/keys", "GET", "/api/v1/keys/x", {}, None, 404, "NOT_FOUND"),
    ("/api/v1/keys", "HEAD", "/api/v1/keys%20", {}, None, 404, ""),
    ("/api/v1/keys", "POST", "/api/v1/keys?revoke=yes", {}, b"", 400, "BAD_REQUEST"),
    ("/api/v1/audit", "GET", "/api/v1/audit?since=yesterday", {}, None, 400, "BAD_REQUEST"),
    ("/api/v1/audit", "GET", "/api/v1/audit?until=2026-13-01", {}, None, 400, "BAD_REQUEST"),
    ("/api/v1/audit", "HEAD", "/api/v1/audit?n=x", {}, None, 400, ""),
    ("/token", "GET", "/token/x", {}, None, 404, "NOT_FOUND"),
    ("/token", "GET", "/token", {"Authorization": "Basic x"}, None, 401, "UNAUTHORIZED"),
    ("/token", "HEAD", "/token", {"Authorization": "Bearer x"}, None, 401, ""),
    ("/token", "POST", "/token", {}, b"", 400, "BAD_REQUEST"),
    ("/token", "POST", "/token", {}, b"grant_type=password&username=%00", 400, "BAD_REQUEST"),
    ("/token", "POST", "/token", {}, b"x" * 65_537, 413, "SIZE_INVALID"),
    ("/healthz", "GET", "/healthz/x", {}, None, 404, "NOT_FOUND"),
    ("/healthz", "HEAD", "/healthz%20", {}, None, 404, ""),
    ("/readyz", "GET", "/READYZ", {}, None, 404, "NOT_FOUND"),
    ("/readyz", "HEAD", "/readyzz", {}, None, 404, ""),
    ("/metrics", "GET", "/metrics/%FF", {}, None, 404, "NOT_FOUND"),
    ("/metrics", "HEAD", "/metrics.txt", {}, None, 404, ""),
    ("/metrics", "POST", "/metrics", {}, b"x", 405, "UNSUPPORTED"),
]
# HTTP itself: bytes, and the status they deserve.
MALFORMED = [
    b"nonsense\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\nGET /v2/ HTTP/1.1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v2/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /v2/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /v2/ HTTP/1.1\r\nTransfer-Encoding: bananas\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    b"\x16\x03\x01\x02\x00",
]


class Traces:
    """What requests could leave behind."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self.descriptors = self._descriptors()

    async def are_gone(self, sessions: int = 0) -> None:
        """Fail unless no request, no connection, no file descriptor and no session but those is left in time."""
        site, deadline = self._service.site, time.monotonic() + 20
        while site.active or site.writing or site.channels or self._descriptors() > self.descriptors:
            assert time.monotonic() < deadline, (site.active, site.writing, site.channels, self._descriptors())
            await deferLater(reactor, 0.01)
        assert site.waiting.total == 0
        assert await self._service.registry.uploads.count() == sessions

    def _descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))


@pytest_twisted.async_yield_fixture
async def traces(service, client: Client):
    """A look at what is left, with every thread and connection of the daemon at work once before."""
    for content in (b"blob", bytes(100_000)):
        await client.push_blob(NAME, content)
    await client.get(f"{V}/blobs/{digest_of(bytes(100_000))}")
    await deferLater(reactor, 0.05)
    yield Traces(service)


def is_oci_error(answer: Answer, code: str) -> bool:
    """Whether the body is the spec's JSON, with that code first."""
    errors = answer.json["errors"]
    return errors[0]["code"] == code and all(isinstance(error["message"], str) for error in errors)


def test_every_route_has_a_row(service):
    """A route or a method without a row here fails this test."""
    routes = {(kind, method.decode()) for kind, methods in service.v2.routes.items() for method in methods}
    routes |= {(endpoint.path, method) for endpoint in service.endpoints for method in endpoint.methods}
    assert routes <= {(route, method) for route, method, *_ in TABLE}


async def test_the_table(client: Client, traces: Traces):
    """Each row gets its status and its code, and leaves nothing behind."""
    wrong = []
    for _, method, path, headers, body, status, code in TABLE:
        answer = await client.request(method, path, body, **headers)
        right = answer.status == status and (method == "HEAD" or is_oci_error(answer, code))
        if not right:
            wrong.append((method, path[:80], headers, answer.status, answer.body[:200]))
    assert wrong == []
    await traces.are_gone()


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:40]))
async def test_malformed_http(client: Client, traces: Traces, data: bytes):
    """A request that is none is 400, or closed, and the connection with it: what follows is no request either."""
    answer = await deferToThread(client.raw, data)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 414", b"HTTP/1.1 404", b"")
    await traces.are_gone()


@pytest.mark.parametrize("method, path", [("PATCH", "upload"), ("PUT", "upload"), ("PUT", f"{V}/manifests/v1")])
async def test_truncated_bodies(client: Client, traces: Traces, method: str, path: str):
    """A body that ends before its announced length leaves at most the session it belongs to."""
    if path == "upload":
        path = (await client.request("POST", f"{V}/blobs/uploads/")).headers["Location"] + f"?digest={DIGEST}"
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort".encode()
    assert await deferToThread(client.raw, request, True) == b""
    await traces.are_gone(1 if "uploads" in path else 0)


@pytest.mark.parametrize("body", [b"5\r\nhello\r\nx\r\n", b"-1\r\n\r\n", b"5;" + b"x" * 5000, b"5\r\nhelloXX"])
async def test_malformed_chunks(client: Client, traces: Traces, body: bytes):
    """Chunks that are none are 400, or the connection is closed; the session stays."""
    location = (await client.request("POST", f"{V}/blobs/uploads/")).headers["Location"]
    request = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body
    answer = await deferToThread(client.raw, request, True)
    assert answer[:12] in (b"HTTP/1.1 400", b"")
    assert (await client.get(location)).status == 204
    await traces.are_gone(1)
