"""Manifests of a remote repo: fetched, kept byte for byte, and as fresh as its settings say."""

from __future__ import annotations

import json
import time
from threading import Event

import pytest
from twisted.internet.task import deferLater

from artifactapi.service import Artifactapi
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.daemon import DEADLINE
from tests.remote.shelf import APP, Shelf, image
from tests.upstream.reading import until
from tests.upstream.scripted import Reply, answer, cut, hanging, head, held, raw, redirect

V1 = f"/v2/hub/{APP}/manifests/v1"
OUTAGES = [
    (answer(503), 502),
    (answer(500, b"<html>"), 502),
    (raw(), 502),
    (cut(image(), 10), 502),
    (raw(b"nonsense\r\n\r\n"), 502),
    (answer(200, b"no manifest", content_type=OCI_MANIFEST), 502),
    (answer(200, image(), content_type=OCI_MANIFEST, docker_content_digest=digest_of(b"another")), 502),
    (answer(200, image(), content_type=OCI_MANIFEST, docker_content_digest=digest_of(b"another", "sha512")), 502),
    (answer(200, image(), content_type=OCI_MANIFEST, content_encoding="gzip"), 502),
    (redirect("http://192.0.2.1:1/", 200), 502),
    (hanging(), 504),
    (hanging(head(200, content_length=5)), 504),
    (answer(429), 429),
]


def source(answered) -> tuple[int, str]:
    """Status and X-Artifact-Source."""
    return answered.status, answered.headers["X-Artifact-Source"]


async def until_asked(client: Client) -> None:
    """Wait until the upstream is asked again, and what it has now is served."""
    from twisted.internet import reactor

    deadline = time.monotonic() + DEADLINE
    while (answered := await client.get(V1)).headers.get("X-Artifact-Source") != "miss":
        assert time.monotonic() < deadline, answered
        await deferLater(reactor, 0.1)
    assert answered.body == image(4)


async def forgotten(remote, status: int) -> None:
    """After a 429 the upstream is let alone for a minute, unless the settings change."""
    if status == 429:
        await remote(description="changed")


async def test_miss_and_hit(client: Client, remote, shelf: Shelf):
    """The first pull is a miss, all others are hits without any request; bytes, digest and type are the upstream's."""
    digest = shelf.manifest(image())
    await remote()
    for path, expected in ((V1, "miss"), (f"/v2/hub/{APP}/manifests/{digest}", "hit"), (V1, "hit")):
        answered = await client.get(path)
        assert source(answered) == (200, expected)
        assert (answered.status, answered.body) == (200, image())
        assert answered.headers["Docker-Content-Digest"] == digest
        assert answered.headers["Content-Type"] == OCI_MANIFEST
    assert shelf.asked("/manifests/") == ["GET"]


async def test_sha512(client: Client, remote, shelf: Shelf):
    """A tag has the digest that the upstream gives it: a pull by that is a hit, and HEAD confirms the tag."""
    digest = digest_of(image(), "sha512")
    shelf.tag(f"(v1|{digest})", answer(200, image(), content_type=OCI_MANIFEST, docker_content_digest=digest))
    await remote(tag_ttl=0)
    for reference, expected in (("v1", "miss"), (digest, "hit"), ("v1", "hit")):
        answered = await client.get(f"/v2/hub/{APP}/manifests/{reference}")
        assert source(answered) == (200, expected)
        assert answered.headers["Docker-Content-Digest"] == digest
    assert shelf.asked("/manifests/") == ["GET", "HEAD"]


async def test_by_digest(client: Client, remote, shelf: Shelf):
    """What was pulled by its digest is never asked for again, and no tag stands for it."""
    digest = shelf.manifest(image())
    await remote(tag_ttl=0)
    path = f"/v2/hub/{APP}/manifests/{digest}"
    assert [source(await client.get(path)) for _ in range(2)] == [(200, "miss"), (200, "hit")]
    assert source(await client.request("HEAD", path)) == (200, "hit")
    assert shelf.asked("/manifests/") == ["GET"]


async def test_head(client: Client, remote, shelf: Shelf):
    """HEAD says what GET says, of what is not here yet, too."""
    digest = shelf.manifest(image())
    await remote()
    answered = await client.request("HEAD", V1)
    assert source(answered) == (200, "miss")
    assert (answered.headers["Docker-Content-Digest"], answered.headers["Content-Length"]) == (
        digest,
        str(len(image())),
    )
    assert answered.body == b""


async def test_an_index(client: Client, remote, shelf: Shelf):
    """An index is kept as it is, its children are not fetched before somebody asks for them."""
    child = shelf.manifest(image(1), "none")
    missing = digest_of(b"of a platform that nobody mirrors")
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": len(image(1))} for digest in (child, missing)]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, indent=1).encode()
    shelf.manifest(index, media_type=OCI_INDEX)
    await remote()
    answered = await client.get(V1)
    assert (answered.body, answered.headers["Content-Type"]) == (index, OCI_INDEX)
    assert shelf.asked(child) == shelf.asked(missing) == []
    assert (await client.get(f"/v2/hub/{APP}/manifests/{child}")).body == image(1)
    absent = await client.get(f"/v2/hub/{APP}/manifests/{missing}")
    assert (absent.status, absent.code) == (404, "MANIFEST_UNKNOWN")
    assert (await client.get(V1)).body == index


async def test_the_prefix(client: Client, remote, shelf: Shelf):
    """Images of one component are the upstream's with the prefix."""
    shelf.manifest(image(), name="library/busybox")
    await remote(prefix="library/")
    assert source(await client.get("/v2/hub/busybox/manifests/v1")) == (200, "miss")


async def test_confirmed(client: Client, remote, shelf: Shelf, later):
    """A tag that is too old is asked for by HEAD alone, if it has not moved; then it is fresh again."""
    shelf.manifest(image())
    await remote(tag_ttl=100)
    await client.get(V1)
    later(99)
    assert source(await client.get(V1)) == (200, "hit")
    assert shelf.asked("/manifests/v1") == ["GET"]
    later(2)
    assert [source(await client.get(V1)) for _ in range(2)] == [(200, "hit")] * 2
    assert shelf.asked("/manifests/v1") == ["GET", "HEAD"]


async def test_an_upstream_without_head(client: Client, remote, shelf: Shelf, later):
    """Where HEAD is refused, a tag that is too old is asked for by GET, on the condition that it has moved."""
    digest = shelf.manifest(image())
    await remote()
    await client.get(V1)
    shelf.scripted.on("HEAD .*/manifests/v1$", answer(405))
    later(301)
    assert source(await client.get(V1)) == (200, "miss")
    assert shelf.asked("/manifests/v1") == ["GET", "HEAD", "GET"]
    assert shelf.scripted.seen[-1].headers["if-none-match"] == f'"{digest}"'
    shelf.scripted.on("GET .*/manifests/v1$", answer(304))
    later(301)
    assert [source(await client.get(V1)) for _ in range(2)] == [(200, "hit")] * 2
    assert shelf.asked("/manifests/v1") == ["GET", "HEAD", "GET", "HEAD", "GET"]


async def test_moved(client: Client, remote, shelf: Shelf, later):
    """A tag that has moved is fetched; the manifest that it stood for can still be had by its digest."""
    old = shelf.manifest(image(1))
    await remote()
    await client.get(V1)
    new = shelf.manifest(image(2))
    later(301)
    answered = await client.get(V1)
    assert (source(answered), answered.headers["Docker-Content-Digest"], answered.body) == (
        (200, "miss"),
        new,
        image(2),
    )
    assert (await client.get(f"/v2/hub/{APP}/manifests/{old}")).body == image(1)
    assert source(await client.get(V1)) == (200, "hit")
    assert shelf.asked("/manifests/v1") == ["GET", "HEAD", "GET"]


async def test_deleted(client: Client, remote, shelf: Shelf, later):
    """A tag that the upstream has no more is gone here too, and stays so while the upstream is down."""
    digest = shelf.manifest(image())
    await remote(negative_ttl=0)
    await client.get(V1)
    shelf.tag("v1", answer(404))
    later(301)
    assert (await client.get(V1)).status == 404
    shelf.tag("v1", answer(503))
    assert (await client.get(V1)).status == 502
    assert source(await client.get(f"/v2/hub/{APP}/manifests/{digest}")) == (200, "hit")


@pytest.mark.parametrize("outage, status", OUTAGES)
async def test_stale(client: Client, remote, shelf: Shelf, later, outage: Reply, status: int):
    """A tag that is too old is served with a warning while the upstream fails, until it is much too old."""
    digest = shelf.manifest(image(3))
    await remote(tag_ttl=100, max_stale=1000, timeout=1, connect_timeout=1)
    await client.get(V1)
    later(101)
    shelf.tag("v1", outage)
    answered = await client.get(V1)
    assert (source(answered), answered.headers["Docker-Content-Digest"], answered.body) == (
        (200, "stale"),
        digest,
        image(3),
    )
    assert answered.headers["Warning"].startswith("299 - ")
    later(1000)
    assert (await client.get(V1)).status == status
    shelf.manifest(image(4))
    await forgotten(remote, status)
    await until_asked(client)


@pytest.mark.parametrize("outage, status", OUTAGES)
async def test_errors(client: Client, remote, shelf: Shelf, outage: Reply, status: int):
    """An upstream that fails is an error of its own kind, and nothing of it is kept."""
    await remote(timeout=1, connect_timeout=1)
    shelf.tag("v1", outage)
    answered = await client.get(V1)
    assert (answered.status, answered.code) == (status, "TOOMANYREQUESTS" if status == 429 else "UPSTREAM_UNAVAILABLE")
    shelf.manifest(image(4))
    await forgotten(remote, status)
    await until_asked(client)


async def test_too_many_requests(client: Client, remote, shelf: Shelf):
    """429 comes with the upstream's own Retry-After, and until then it is not asked again, whatever is wanted."""
    await remote()
    shelf.tag("v1", answer(429, retry_after=3000))
    answered = await client.get(V1)
    assert (answered.status, answered.code, answered.headers["Retry-After"]) == (429, "TOOMANYREQUESTS", "3000")
    answered = await client.get(f"/v2/hub/{APP}/manifests/v2")
    assert answered.status == 429
    assert 2900 < int(answered.headers["Retry-After"]) <= 3000
    blob = await client.get(f"/v2/hub/{APP}/blobs/{digest_of(b'x')}")
    assert blob.status == 429
    assert len(shelf.scripted.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_denied(client: Client, remote, shelf: Shelf, later, status: int):
    """What the upstream does not let us have is denied, not unknown, and is not asked for again for a while; what it
    let us have before is not served instead."""
    await remote()
    shelf.tag("v1", answer(status))
    for _ in range(2):
        answered = await client.get(V1)
        assert (answered.status, answered.code) == (403, "DENIED")
    assert shelf.asked("/manifests/v1") == ["GET"]
    shelf.manifest(image())
    await remote(negative_ttl=0)
    assert source(await client.get(V1)) == (200, "miss")
    later(301)
    shelf.tag("v1", answer(status))
    assert (await client.get(V1)).code == "DENIED"


async def test_unknown(client: Client, remote, shelf: Shelf):
    """What the upstream does not have is not asked for again for a while; new settings begin anew."""
    await remote(negative_ttl=3600)
    for _ in range(3):
        answered = await client.get(V1)
        assert (answered.status, answered.code) == (404, "MANIFEST_UNKNOWN")
    assert shelf.asked("/manifests/v1") == ["GET"]
    shelf.manifest(image())
    await remote(negative_ttl=3599)
    assert source(await client.get(V1)) == (200, "miss")


async def test_unknown_for_a_while(client: Client, remote, shelf: Shelf):
    """After that while it is asked for again."""
    await remote(negative_ttl=1)
    assert (await client.get(V1)).status == 404
    shelf.manifest(image(4))
    await until_asked(client)


async def test_let_alone(client: Client, remote, shelf: Shelf):
    """An upstream that is down is asked once in a while, whatever is wanted of it."""
    await remote(backoff=3600)
    shelf.scripted.on("", answer(503))
    for path in (
        V1,
        V1,
        f"/v2/hub/{APP}/manifests/v2",
        f"/v2/hub/{APP}/blobs/{digest_of(b'x')}",
        "/v2/hub/b/tags/list",
    ):
        assert (await client.get(path)).status == 502
    assert len(shelf.scripted.seen) == 1


async def test_one_bad_manifest(client: Client, remote, shelf: Shelf):
    """A single answer that is no manifest says nothing about all others."""
    await remote(backoff=3600)
    shelf.tag("bad", answer(200, b"no manifest"))
    shelf.tag("large", raw(head(200, content_length=5_000_000)))
    shelf.manifest(image())
    for tag in ("bad", "large"):
        assert (await client.get(f"/v2/hub/{APP}/manifests/{tag}")).status == 502
    assert source(await client.get(V1)) == (200, "miss")


async def test_a_wrong_digest(client: Client, remote, shelf: Shelf, rows):
    """A manifest that is not the one of its digest is never kept, nor shown."""
    await remote()
    digest = digest_of(image(1))
    shelf.scripted.on(f"GET .*{digest}", answer(200, image(2), content_type=OCI_MANIFEST))
    answered = await client.get(f"/v2/hub/{APP}/manifests/{digest}")
    assert (answered.status, answered.code) == (502, "UPSTREAM_UNAVAILABLE")
    assert rows("SELECT count(*) FROM manifests") == [(0,)]


@pytest.mark.parametrize(
    "status, code", [(400, "MANIFEST_UNKNOWN"), (406, "MANIFEST_UNKNOWN"), (410, "MANIFEST_UNKNOWN")]
)
async def test_what_an_upstream_does_not_take(client: Client, remote, shelf: Shelf, later, status: int, code: str):
    """A reference that it does not take is unknown; a tag that was known is served, though: it may be out of order."""
    shelf.manifest(image())
    await remote()
    await client.get(V1)
    shelf.tag("v1", answer(status))
    shelf.tag("v2", answer(status))
    answered = await client.get(f"/v2/hub/{APP}/manifests/v2")
    assert (answered.status, answered.code) == (404, "MANIFEST_UNKNOWN")
    later(301)
    assert source(await client.get(V1)) == ((404, None) if status == 410 else (200, "stale"))


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain; charset=utf-8"])
async def test_a_type_that_is_none(client: Client, remote, shelf: Shelf, content_type: str):
    """Of an upstream that serves manifests as any file, the manifest says what it is."""
    shelf.manifest(image(), media_type=content_type)
    await remote()
    answered = await client.get(V1)
    assert (answered.status, answered.headers["Content-Type"], answered.body) == (200, OCI_MANIFEST, image())


async def test_a_slow_upstream(client: Client, remote, shelf: Shelf, later, monkeypatch: pytest.MonkeyPatch):
    """While it takes its time the tag is served as it was known; what it says then counts, without another request."""
    monkeypatch.setattr("artifactapi.registry.remote.PATIENCE", 0.1)
    go_on = Event()
    shelf.manifest(image(1))
    await remote()
    await client.get(V1)
    digest = shelf.manifest(image(2))
    shelf.scripted.on("HEAD .*/manifests/v1$", held(go_on, answer(405)))
    later(301)
    for _ in range(2):
        answered = await client.get(V1)
        assert (source(answered), answered.body) == ((200, "stale"), image(1))
    go_on.set()
    while (answered := await client.get(V1)).body == image(1):
        assert source(answered) == (200, "stale")
    assert (answered.status, answered.headers["Docker-Content-Digest"]) == (200, digest)
    assert shelf.asked("/manifests/v1") == ["GET", "HEAD", "GET"]


async def test_a_slow_upstream_of_what_is_too_old(client: Client, remote, shelf: Shelf, later, monkeypatch):
    """Where there is no old answer that may be served, the upstream has all its time."""
    from twisted.internet import reactor

    monkeypatch.setattr("artifactapi.registry.remote.PATIENCE", 0.05)
    go_on = Event()
    shelf.manifest(image(1))
    await remote(max_stale=0)
    await client.get(V1)
    shelf.manifest(image(2))
    shelf.scripted.on("HEAD .*/manifests/v1$", held(go_on, answer(405)))
    later(301)
    asking = client.get(V1)
    await until(lambda: "HEAD" in shelf.asked("/manifests/v1"))
    await deferLater(reactor, 0.2)
    go_on.set()
    assert (await asking).body == image(2)


async def test_a_repo_that_is_deleted(client: Client, remote, shelf: Shelf, rows):
    """What comes for a repo that was deleted meanwhile is no failure, and is not kept."""
    go_on = Event()
    shelf.tag("v1", held(go_on, answer(200, image(), content_type=OCI_MANIFEST)))
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(image(1)), "size": len(image(1))}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    shelf.scripted.on("referrers", held(go_on, answer(200, json.dumps(index).encode(), content_type=OCI_INDEX)))
    await remote()
    asking = [client.get(V1), client.get(f"/v2/hub/{APP}/referrers/{digest_of(image())}")]
    await until(lambda: len(shelf.scripted.seen) == 2)
    assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    go_on.set()
    assert {(await one).status for one in asking} <= {200, 404}
    assert rows("SELECT count(*) FROM manifests") == [(0,)]


async def test_one_request_for_many(client: Client, service: Artifactapi, remote, shelf: Shelf):
    """Those who ask while the upstream is being asked get the same answer."""
    go_on = Event()
    await remote()
    shelf.tag("v1", held(go_on, answer(200, image(), content_type=OCI_MANIFEST)))
    asking = [client.get(V1) for _ in range(5)]
    waiting = service.registry.manifests._elsewhere._remote._fetching._waiting  # type: ignore[union-attr]
    await until(lambda: list(map(len, waiting.values())) == [5])
    go_on.set()
    assert [(await one).status for one in asking] == [200] * 5
    assert shelf.asked("/manifests/v1") == ["GET"]
