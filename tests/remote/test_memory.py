"""What is remembered of an upstream: what was asked, of whom, and for as long as it may be right."""

from __future__ import annotations

from threading import Event

import pytest
from twisted.internet.threads import deferToThread

from tests.client import OCI_MANIFEST, Client, digest_of
from tests.remote.shelf import APP, LAYER, Shelf, image
from tests.upstream.reading import until
from tests.upstream.scripted import Scripted, answer, held

V1 = f"/v2/hub/{APP}/manifests/v1"
BLOB = f"/v2/hub/{APP}/blobs/"


@pytest.mark.parametrize("status, shown", [(401, 403), (403, 403), (404, 404)])
async def test_head_of_a_blob_alone(client: Client, remote, shelf: Shelf, status: int, shown: int):
    """An upstream that says no to HEAD may answer GET: some sign the address that they send us to for GET alone."""
    digest = shelf.blob()
    shelf.scripted.on(f"HEAD .*{digest}$", answer(status))
    await remote()
    for _ in range(2):
        assert (await client.request("HEAD", BLOB + digest)).status == shown
    assert shelf.asked(digest) == ["HEAD"]
    assert (await client.get(BLOB + digest)).body == LAYER


@pytest.mark.parametrize("status", [404, 403])
async def test_what_get_has_failed_with(client: Client, remote, shelf: Shelf, status: int):
    """What the upstream does not give is not promised to HEAD either, whatever it says to that."""
    digest = shelf.blob(LAYER, answer(status))
    await remote()
    assert (await client.request("HEAD", BLOB + digest)).status == 200
    for method in ("GET", "HEAD", "GET", "HEAD"):
        assert (await client.request(method, BLOB + digest)).status == status
    assert shelf.asked(digest) == ["HEAD", "GET"]


async def test_head_that_says_nothing_of_the_length(client: Client, remote, shelf: Shelf):
    """A length of 0 in the answer to HEAD is that of its own body: a blob that has none has another digest."""
    digest = shelf.blob()
    shelf.scripted.on(f"HEAD .*{digest}$", answer(200))
    await remote()
    assert (await client.request("HEAD", BLOB + digest)).headers["Content-Length"] == str(len(LAYER))


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_head_of_a_tag_alone(client: Client, remote, shelf: Shelf, later, status: int):
    """A tag is there as long as GET says so."""
    shelf.manifest(image())
    await remote()
    await client.get(V1)
    shelf.scripted.on("HEAD .*/manifests/v1$", answer(status))
    later(301)
    assert (await client.get(V1)).status == 200


async def test_a_tag_that_was_missed(client: Client, replica: Client, remote, shelf: Shelf, rows):
    """What a replica has missed is there when another one has fetched it since."""
    await remote(tag_ttl=0, negative_ttl=3600)
    assert (await client.get(V1)).status == 404
    shelf.manifest(image())
    assert (await replica.get(V1)).status == 200
    assert (await client.get(V1)).status == 200
    assert rows("SELECT name FROM tags") == [("v1",)]


async def test_an_answer_to_an_earlier_question(client: Client, remote, shelf: Shelf):
    """An upstream that wants to be let alone is, although it answers what it was asked before."""
    go_on = Event()
    digest = digest_of(image())
    shelf.tag("slow", held(go_on, answer(200, image(), content_type=OCI_MANIFEST, docker_content_digest=digest)))
    shelf.tag("v1", answer(429, retry_after=3000))
    await remote()
    slow = deferToThread(client.send, "GET", f"/v2/hub/{APP}/manifests/slow")
    await until(lambda: shelf.asked("slow"))
    assert (await client.get(V1)).status == 429
    go_on.set()
    assert (await slow).status == 200
    assert (await client.get(V1)).status == 429
    assert shelf.asked("v1") == ["GET"]


async def test_what_is_served_meanwhile_is_used(client: Client, service, remote, shelf: Shelf, later, rows):
    """A pull counts as one while the upstream is down, too: what is wanted is not evicted then."""
    shelf.manifest(image())
    await remote()
    await client.get(V1)
    later(86_400)
    shelf.tag("v1", answer(503))
    assert (await client.get(V1)).headers["X-Artifact-Source"] == "stale"
    await service.registry.blobs._elsewhere.uses.write()
    assert rows("SELECT pulled_at > now() - interval '1 hour' FROM manifests") == [(True,)]


@pytest.mark.parametrize("anew", [True, False], ids=["a repo made anew", "another upstream"])
async def test_what_comes_too_late(client: Client, remote, shelf: Shelf, elsewhere: Scripted, anew: bool):
    """What an upstream answers that is not the repo's any more is neither given to who asks now, nor kept for him."""
    go_on = Event()
    reply = answer(200, image(1), content_type=OCI_MANIFEST, docker_content_digest=digest_of(image(1)))
    shelf.tag("v1", held(go_on, reply))
    mine = answer(200, image(2), content_type=OCI_MANIFEST, docker_content_digest=digest_of(image(2)))
    elsewhere.on("(GET|HEAD) .*/manifests/v1", mine)
    await remote()
    old = deferToThread(client.send, "GET", V1)
    await until(lambda: shelf.asked("v1"))
    if anew:
        assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    await remote(upstream=elsewhere.url)
    new = deferToThread(client.send, "GET", V1)
    try:
        await until(lambda: elsewhere.seen)
        assert (await new).body == image(2)
    finally:
        go_on.set()
        await old
    assert (await client.get(V1)).body == image(2)
