"""Manifests of an upstream."""

from __future__ import annotations

import gzip

import pytest

from artifactapi.oci.digest import digest_of
from artifactapi.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import Tag
from artifactapi.upstream.errors import Denied, Limited, NotThere, UpstreamError
from artifactapi.upstream.upstream import Manifest, Upstream
from tests.upstream.reading import breaks, until
from tests.upstream.scripted import Scripted, answer, chunked, hanging, head, raw

CONTENT = b'{"schemaVersion":2}'
DIGEST = digest_of(CONTENT)
LATEST = Tag("latest")
AS_IT_SHOULD_BE = answer(200, CONTENT, content_type=f"{OCI_MANIFEST}; charset=utf-8", docker_content_digest=DIGEST)


async def test_a_manifest(scripted: Scripted, upstream: Upstream, observed: list):
    """The bytes come as they are, with what the upstream says of them; all types are asked for."""
    scripted.on("GET /v2/team/app/manifests/latest$", AS_IT_SHOULD_BE)
    assert await upstream.manifest("team/app", LATEST) == Manifest(DIGEST, OCI_MANIFEST, CONTENT)
    [seen] = scripted.seen
    accepted = [each.strip() for each in seen.headers["accept"].split(",")]
    assert {DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST} < set(accepted)
    assert accepted[-1] == "*/*"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["user-agent"].startswith("artifactapi/")
    assert seen.authorization is None
    assert observed == [("manifest", 200, None)]


async def test_a_manifest_by_digest(scripted: Scripted, client):
    """A digest is asked for as such, below the path of the upstream and with the prefix."""
    scripted.on(f"GET /mirror/v2/library/debian/manifests/{DIGEST}$", AS_IT_SHOULD_BE)
    upstream = client(f"{scripted.url}/mirror/", prefix="library/")
    assert (await upstream.manifest("debian", DIGEST)).content == CONTENT


async def test_a_manifest_that_is_the_same(scripted: Scripted, upstream: Upstream):
    """With its ETag nothing comes, while it is the same."""
    scripted.on("GET", answer(304))
    assert await upstream.manifest("team/app", LATEST, '"1"') is None
    assert scripted.seen[0].headers["if-none-match"] == '"1"'


async def test_304_without_a_reason(scripted: Scripted, upstream: Upstream):
    """Who asked without an ETag has nothing that could be the same."""
    scripted.on("GET", answer(304))
    await breaks(upstream.manifest("team/app", LATEST), "status", 304)


async def test_an_upstream_that_says_little(scripted: Scripted, upstream: Upstream):
    """Digest and type may be missing, or be none."""
    scripted.on("GET", answer(200, CONTENT, docker_content_digest="sha256:no"), chunked(CONTENT[:5], CONTENT[5:]))
    for _ in range(2):
        assert await upstream.manifest("team/app", LATEST) == Manifest(None, "", CONTENT)


async def test_a_head(scripted: Scripted, upstream: Upstream, observed: list):
    """A HEAD says what a tag stands for, and how long a blob is."""
    scripted.on("HEAD /v2/team/app/manifests/latest", AS_IT_SHOULD_BE)
    assert await upstream.digest("team/app", LATEST) == DIGEST
    scripted.on(f"HEAD /v2/team/app/blobs/{DIGEST}", answer(200, CONTENT))
    assert await upstream.size("team/app", DIGEST) == len(CONTENT)
    assert observed == [("head", 200, None)] * 2


async def test_a_head_that_says_little(scripted: Scripted, upstream: Upstream):
    """A HEAD may say nothing at all."""
    scripted.on("HEAD", raw(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert await upstream.digest("team/app", LATEST) is None
    assert await upstream.size("team/app", DIGEST) is None


@pytest.mark.parametrize(
    "status, error",
    [(404, NotThere), (401, Denied), (403, Denied), (429, Limited)],
)
async def test_refusals(scripted: Scripted, upstream: Upstream, status: int, error: type[UpstreamError]):
    """404 is not there, 401 and 403 are denied, 429 is limited; to a HEAD as well."""
    scripted.on("", answer(status, b"{}"))
    for work in (upstream.manifest("a", LATEST), upstream.digest("a", LATEST), upstream.size("a", DIGEST)):
        with pytest.raises(error) as raised:
            await work
        assert raised.value.status == status


@pytest.mark.parametrize("status", [400, 405, 500, 502, 503, 504, 204])
async def test_other_statuses(scripted: Scripted, upstream: Upstream, status: int):
    """Whatever else is no success is the upstream's fault, and says its status."""
    scripted.on("", answer(status, b"" if status == 204 else b"<html>no</html>"))
    await breaks(upstream.manifest("a", LATEST), "status", status)


async def test_a_connection_is_used_again(scripted: Scripted, upstream: Upstream):
    """Answers, good ones and others, leave the connection for the next request."""
    for _ in range(5):
        scripted.on("GET", answer(500, b"x" * 1000), AS_IT_SHOULD_BE)
        await breaks(upstream.manifest("a", LATEST), "status", 500)
        await upstream.manifest("a", LATEST)
        scripted.on("GET", answer(304))
        assert await upstream.manifest("a", LATEST, '"1"') is None
    # A refusal is told before its body has come, so that the next request may need a second connection.
    assert scripted.connections <= 2


async def test_the_largest_manifest(scripted: Scripted, upstream: Upstream):
    """4 MiB are taken."""
    scripted.on("GET", answer(200, b" " * MAX_MANIFEST))
    assert len((await upstream.manifest("a", LATEST)).content) == MAX_MANIFEST


async def test_too_large_a_manifest(scripted: Scripted, upstream: Upstream):
    """More are not, whether their number is known before or not."""
    scripted.on("GET", answer(200, b" " * (MAX_MANIFEST + 1)), chunked(*[b" " * 65536] * 65))
    await breaks(upstream.manifest("a", LATEST), "large", 200)
    await breaks(upstream.manifest("a", LATEST), "large")


async def test_a_compressed_manifest(scripted: Scripted, upstream: Upstream):
    """What is compressed has another digest: it is refused, and nobody unpacks it."""
    scripted.on("GET", hanging(head(200, content_length=99, content_encoding="gzip"), gzip.compress(CONTENT)))
    await breaks(upstream.manifest("a", LATEST), "encoding", 200)
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_a_compressed_refusal(scripted: Scripted, upstream: Upstream):
    """A 404 is one in any encoding."""
    scripted.on("GET", answer(404, gzip.compress(b"{}"), content_encoding="gzip"))
    with pytest.raises(NotThere):
        await upstream.manifest("a", LATEST)


async def test_no_cookies(scripted: Scripted, upstream: Upstream):
    """A cookie of the upstream is not kept."""
    scripted.on("GET", answer(200, CONTENT, set_cookie="a=b; Path=/"))
    await upstream.manifest("a", LATEST)
    await upstream.manifest("a", LATEST)
    assert [seen.headers.get("cookie") for seen in scripted.seen] == [None, None]


async def test_what_remains(scripted: Scripted, upstream: Upstream, observed: list):
    """The requests that the upstream still allows are told, if it says so in a way that can be understood."""
    scripted.on(
        "GET",
        answer(200, CONTENT, ratelimit_limit="100;w=21600", ratelimit_remaining="76;w=21600"),
        answer(200, CONTENT, ratelimit_remaining="many"),
        answer(429, b"", ratelimit_remaining="0"),
    )
    await upstream.manifest("a", LATEST)
    await upstream.manifest("a", LATEST)
    with pytest.raises(Limited):
        await upstream.manifest("a", LATEST)
    assert observed == [("manifest", 200, 76), ("manifest", 200, None), ("manifest", 429, 0)]
