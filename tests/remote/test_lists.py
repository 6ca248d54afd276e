"""Lists of a remote repo: tags, and what refers to a manifest."""

from __future__ import annotations

import json
from threading import Event

from artifactapi.service import Artifactapi
from artifactapi.upstream.lists import MOST_PAGES
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.remote.shelf import APP, Shelf, image
from tests.upstream.reading import until
from tests.upstream.scripted import answer, answer_json, held

TAGS = f"/v2/hub/{APP}/tags/list"
SUBJECT = digest_of(image(1))


def entry(number: int, **fields: object) -> dict:
    """A descriptor of the image of that number."""
    content = image(number, subject={"mediaType": OCI_MANIFEST, "digest": SUBJECT, "size": len(image(1))})
    return {"mediaType": OCI_MANIFEST, "digest": digest_of(content), "size": len(content), **fields}


def index(*entries: dict) -> dict:
    """An index of these."""
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}


async def listed(client: Client, query: str = "") -> list[str]:
    """The digests of the referrers, in order."""
    answered = await client.get(f"/v2/hub/{APP}/referrers/{SUBJECT}{query}")
    assert answered.status == 200, answered.body
    return [found["digest"] for found in answered.json["manifests"]]


async def test_pages(client: Client, remote, shelf: Shelf):
    """Pages of tags are the upstream's, with a Link to the next one here."""
    shelf.scripted.on("tags/list", answer_json(200, {"name": APP, "tags": ["a", "b", "c"]}))
    await remote()
    first = await client.get(f"{TAGS}?n=2")
    assert first.json == {"name": f"hub/{APP}", "tags": ["a", "b"]}
    target = first.headers["Link"].partition(">")[0].removeprefix("<")
    assert target.startswith("/v2/hub/")
    second = await client.get(target)
    assert second.json["tags"] == ["c"]
    assert [page.headers["X-Artifact-Source"] for page in (first, second)] == ["miss", "hit"]
    assert len(shelf.asked("tags/list")) == 1


async def test_no_image(client: Client, remote, shelf: Shelf):
    """An image that the upstream does not have is unknown."""
    await remote()
    answered = await client.get(TAGS)
    assert (answered.status, answered.code) == (404, "NAME_UNKNOWN")


async def test_tags_while_it_is_down(client: Client, remote, shelf: Shelf):
    """While the upstream is down, the tags are those that are cached; of an image without any, that is an error."""
    shelf.manifest(image())
    await remote()
    await client.get(f"/v2/hub/{APP}/manifests/v1")
    shelf.scripted.on("tags/list", answer(503))
    answered = await client.get(TAGS)
    assert (answered.json["tags"], answered.headers["X-Artifact-Source"]) == (["v1"], "stale")
    assert answered.headers["Warning"].startswith("299 - ")
    assert (await client.get("/v2/hub/other/tags/list")).status == 502


async def test_tags_that_are_denied(client: Client, remote, shelf: Shelf):
    """Where the upstream lets us have no list, neither are the tags shown that are cached."""
    shelf.manifest(image())
    await remote()
    await client.get(f"/v2/hub/{APP}/manifests/v1")
    shelf.scripted.on("tags/list", answer(403))
    assert (await client.get(TAGS)).code == "DENIED"


async def test_one_list_for_many(client: Client, service: Artifactapi, remote, shelf: Shelf):
    """Those who ask at the same time, and for other pages, get them from one list."""
    go_on = Event()
    shelf.scripted.on("tags/list", held(go_on, answer_json(200, {"name": APP, "tags": ["a", "b", "c"]})))
    await remote()
    asking = [client.get(f"{TAGS}?n=1&last={last}") for last in ("", "a", "b", "c", "A")]
    waiting = service.registry.tags._elsewhere._lists._asking._waiting  # type: ignore[union-attr]
    await until(lambda: list(map(len, waiting.values())) == [5])
    go_on.set()
    assert [(await one).json["tags"] for one in asking] == [["a"], ["b"], ["c"], [], ["a"]]
    assert len(shelf.asked("tags/list")) == 1


async def test_a_list_without_end(client: Client, remote, shelf: Shelf):
    """It is not begun again for everybody who asks."""
    shelf.scripted.on("tags/list", answer_json(200, {"tags": ["a"]}, link='<?n=1>; rel="next"'))
    await remote()
    for _ in range(3):
        assert (await client.get(TAGS)).status == 502
    assert len(shelf.asked("tags/list")) == MOST_PAGES


async def test_referrers(client: Client, remote, shelf: Shelf):
    """What refers to a manifest is what the upstream's API says and what is here, each once, by digest."""
    digests = sorted(entry(number)["digest"] for number in (2, 3))
    shelf.scripted.on(f"referrers/{SUBJECT}", answer_json(200, index(entry(2), entry(3))))
    content = image(3, subject={"mediaType": OCI_MANIFEST, "digest": SUBJECT, "size": len(image(1))})
    shelf.manifest(content)
    await remote()
    assert await listed(client) == digests
    await client.get(f"/v2/hub/{APP}/manifests/v1")
    assert await listed(client) == digests


async def test_referrers_are_kept(client: Client, remote, shelf: Shelf, later):
    """What the upstream has said is as fresh as a tag, and is shown while it is down, until that is too long ago."""
    odd = entry(2, annotations={"odd": "\0 \ud800"})
    shelf.scripted.on("referrers", answer_json(200, index(odd)))
    await remote(max_stale=1000)
    for _ in range(2):
        answered = await client.get(f"/v2/hub/{APP}/referrers/{SUBJECT}")
        assert answered.json["manifests"] == [entry(2)]
    assert len(shelf.asked("referrers")) == 1
    later(301)
    shelf.scripted.on("referrers", answer_json(200, index(entry(3))))
    assert await listed(client) == [entry(3)["digest"]]
    later(301)
    shelf.scripted.on("", answer(503))
    assert await listed(client) == [entry(3)["digest"]]
    later(1000)
    answered = await client.get(f"/v2/hub/{APP}/referrers/{SUBJECT}")
    assert (answered.json["manifests"], answered.headers["X-Artifact-Source"]) == ([], "stale")
    assert answered.headers["Warning"].startswith("299 - ")


async def test_no_referrers(client: Client, remote, shelf: Shelf, rows):
    """That there are none is known for a while, and takes no row; that there are no more is kept."""
    shelf.scripted.on("referrers", answer_json(200, index()))
    await remote(tag_ttl=0)
    for _ in range(2):
        assert await listed(client) == []
    assert len(shelf.asked("referrers")) == 1
    assert rows("SELECT count(*) FROM images") == [(0,)]
    shelf.scripted.on("referrers", answer_json(200, index(entry(2))), answer_json(200, index()), answer(503))
    await remote(negative_ttl=0)
    for expected in ([entry(2)["digest"]], [], []):
        assert await listed(client) == expected


async def test_types(client: Client, remote, shelf: Shelf):
    """They are filtered by type here, whatever the upstream does."""
    entries = [entry(2, artifactType="a/sbom"), entry(3, artifactType="a/signature")]
    shelf.scripted.on("referrers/", answer_json(200, index(*entries)))
    await remote()
    assert await listed(client, "?artifactType=a/sbom") == [entries[0]["digest"]]


async def test_the_fallback_tag(client: Client, remote, shelf: Shelf, later):
    """Of an upstream without that API, its fallback tag is used, kept, and as fresh as any tag."""
    tag = SUBJECT.replace(":", "-")
    shelf.manifest(json.dumps(index(entry(2))).encode(), tag, OCI_INDEX)
    await remote()
    for _ in range(2):
        assert await listed(client) == [entry(2)["digest"]]
    assert shelf.asked(tag) == ["GET"]
    later(301)
    shelf.manifest(json.dumps(index(entry(3))).encode(), tag, OCI_INDEX)
    assert await listed(client) == [entry(3)["digest"]]
    shelf.scripted.on("", answer(503))
    assert await listed(client) == [entry(3)["digest"]]


async def test_the_fallback_tag_of_an_api_that_fails(client: Client, remote, shelf: Shelf):
    """An upstream whose API fails may have the tag nevertheless."""
    shelf.scripted.on("referrers", answer(500))
    shelf.manifest(json.dumps(index(entry(2))).encode(), SUBJECT.replace(":", "-"), OCI_INDEX)
    await remote()
    assert await listed(client) == [entry(2)["digest"]]
