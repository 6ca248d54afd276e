"""Redirects of an upstream."""

from __future__ import annotations

import pytest

from artifactapi.oci.names import Tag
from artifactapi.upstream.errors import Denied
from artifactapi.upstream.upstream import Upstream
from tests.upstream.reading import DIGEST, breaks, content
from tests.upstream.scripted import Scripted, answer, basic, behind, partly, redirect, wants_bearer

LATEST = Tag("latest")
BASIC = basic("user", "password")
WANTS_BASIC = answer(401, b"{}", www_authenticate='Basic realm="x"')


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_elsewhere(scripted: Scripted, elsewhere: Scripted, client, status: int, observed: list):
    """A blob is fetched where the upstream says, from the place asked for, and nothing secret goes there."""
    target = f"{elsewhere.url}/bucket/blob?X-Sig=a%2Fb+c=="
    scripted.on("blobs", behind(BASIC, redirect(target, status), WANTS_BASIC))
    elsewhere.on("GET /bucket/blob", partly(b"blob"))
    assert await content(client(username="user", password="password"), start=2) == b"ob"
    [seen] = elsewhere.seen
    assert seen.target == "/bucket/blob?X-Sig=a%2Fb+c=="
    assert seen.headers["range"] == "bytes=2-"
    assert not {"authorization", "cookie", "referer"} & set(seen.headers)
    assert observed == [("blob", 401, None), ("blob", status, None), ("blob", 206, None)]


async def test_on_the_upstream_itself(scripted: Scripted, client):
    """A redirect to the upstream itself is authorised as the first request."""
    scripted.on("manifests", behind(BASIC, redirect("/v2/other/manifests/latest"), WANTS_BASIC))
    scripted.on("GET /v2/other", behind(BASIC, answer(200, b"{}"), WANTS_BASIC))
    upstream = client(username="user", password="password")
    assert (await upstream.manifest("a", LATEST)).content == b"{}"


async def test_there_and_back(scripted: Scripted, elsewhere: Scripted, client):
    """What another host sends back to the upstream is not authorised: it would choose what we ask for."""
    scripted.on("blobs", behind(BASIC, redirect(f"{elsewhere.url}/x"), WANTS_BASIC))
    elsewhere.on("/x", redirect(f"{scripted.url}/secret"))
    scripted.on("/secret", answer(200, b"blob"))
    assert await content(client(username="user", password="password")) == b"blob"
    assert scripted.seen[-1].authorization is None


async def test_another_port(scripted: Scripted, client):
    """Another port of the upstream's host is another server."""
    other = Scripted()
    try:
        scripted.on("blobs", behind(BASIC, redirect(f"{other.url}/x"), WANTS_BASIC))
        other.on("/x", answer(200, b"blob"))
        assert await content(client(username="user", password="password")) == b"blob"
        assert other.seen[0].authorization is None
    finally:
        other.close()


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="{}/token"'])
async def test_a_challenge_from_elsewhere(scripted: Scripted, elsewhere: Scripted, client, challenge: str):
    """Who is not the upstream may not ask for credentials."""
    scripted.on("blobs", redirect(f"{elsewhere.url}/x"))
    elsewhere.on("/x", answer(401, b"{}", www_authenticate=challenge.format(elsewhere.url)))
    with pytest.raises(Denied):
        await content(client(username="user", password="password"))
    assert [seen.path for seen in elsewhere.seen] == ["/x"]
    assert elsewhere.seen[0].authorization is None


async def test_five_are_followed(scripted: Scripted, upstream: Upstream):
    """Five redirects in a row are followed."""
    for number in range(5):
        scripted.on(f"/r{number}$", redirect(f"/r{number + 1}"))
    scripted.on("blobs", redirect("/r1"))
    scripted.on("/r5$", answer(200, b"blob"))
    assert await content(upstream) == b"blob"


async def test_loops(scripted: Scripted, upstream: Upstream):
    """More are not."""
    scripted.on("GET", redirect("/again"))
    await breaks(upstream.blob("a", DIGEST), "redirect")
    assert len(scripted.seen) == 6


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "http://user:password@127.0.0.1/", "http://\\127.0.0.1/", "", "http://[x/"]
)
async def test_addresses_that_are_none(scripted: Scripted, upstream: Upstream, location: str):
    """A redirect to what is no address we can trust is not followed."""
    scripted.on("GET", redirect(location))
    error = await breaks(upstream.blob("a", DIGEST), "redirect", 307)
    assert "password" not in error.reason


async def test_out_of_tls(tls_scripted: Scripted, tls_upstream: Upstream):
    """A redirect out of TLS is not followed."""
    tls_scripted.on("blobs", redirect("http://cdn.example/x?sig=secret"))
    error = await breaks(tls_upstream.blob("a", DIGEST), "redirect", 307)
    assert error.reason.endswith("to http://cdn.example")


async def test_no_location(scripted: Scripted, upstream: Upstream):
    """A redirect to nowhere is an error."""
    scripted.on("GET", answer(302))
    await breaks(upstream.manifest("a", LATEST), "redirect", 302)


async def test_a_signature_is_not_told(scripted: Scripted, elsewhere: Scripted, upstream: Upstream):
    """The signed address is in no error."""
    scripted.on("GET", redirect(f"{elsewhere.url}/x?sig=secret"))
    elsewhere.on("/x", answer(500))
    error = await breaks(upstream.blob("a", DIGEST), "status", 500)
    assert "secret" not in str(error)


async def test_a_realm_in_a_redirect(scripted: Scripted, upstream: Upstream):
    """A token server's redirects are not followed: they would take the credentials along."""
    scripted.on("manifests", wants_bearer(f"{scripted.url}/token"))
    scripted.on("/token", redirect("/elsewhere"))
    await breaks(upstream.manifest("a", LATEST), "status", 307)
    assert not [seen for seen in scripted.seen if seen.path == "/elsewhere"]
