"""Tags and referrers of an upstream."""

from __future__ import annotations

import json
from threading import get_ident

import pytest

from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.upstream import lists
from artifactapi.upstream import upstream as upstream_module
from artifactapi.upstream.errors import Denied, NotThere
from artifactapi.upstream.lists import MOST_PAGES
from artifactapi.upstream.upstream import Upstream
from tests.client import digest_of
from tests.upstream.reading import DIGEST, breaks
from tests.upstream.scripted import Scripted, answer, answer_json, basic, behind


def tags(*names: object, **headers: object):
    """A page of tags."""
    return answer_json(200, {"name": "team/app", "tags": list(names)}, **headers)


async def test_tags(scripted: Scripted, upstream: Upstream):
    """All tags of all pages, each once, in the order of their bytes, which need not be the upstream's."""
    scripted.on(r"GET /v2/team/app/tags/list\?n=1000$", tags("b", "a", "B", link='<?next_page=x%2B>; rel="next"'))
    scripted.on(r"GET /v2/team/app/tags/list\?next_page=x%2B$", tags("c", "b"))
    assert await upstream.tags("team/app") == ["B", "a", "b", "c"]
    assert len(scripted.seen) == 2


async def test_many_tags(scripted: Scripted, upstream: Upstream):
    """A page may hold many."""
    names = [f"v{number:05}" for number in range(50_000)]
    scripted.on("tags/list", tags(*names))
    assert await upstream.tags("team/app") == names


async def test_no_tags(scripted: Scripted, upstream: Upstream):
    """null is an empty list, as Go writes it; what can be no tag is left out."""
    scripted.on("tags/list", answer_json(200, {"tags": None}), tags("ok", "-no", 5, "x" * 129, "a/b"))
    assert await upstream.tags("team/app") == []
    assert await upstream.tags("team/app") == ["ok"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"name":"x"}', b'{"tags":{}}', b"[" * 1000, b"\xff", b'{"tags":[' + b"1," * 400_000]
)
async def test_lists_that_are_none(scripted: Scripted, upstream: Upstream, body: bytes):
    """What is no list of tags is the upstream's fault."""
    scripted.on("tags/list", answer(200, body))
    await breaks(upstream.tags("team/app"), "malformed", 200)


async def test_pages_that_are_too_much_together(scripted: Scripted, upstream: Upstream, monkeypatch):
    """The bytes of all pages have a bound."""
    monkeypatch.setattr(lists, "MOST_BYTES", 100)
    scripted.on("tags/list", tags("a", link='<?n=1>; rel="next"'))
    await breaks(upstream.tags("team/app"), "large", 200)
    assert len(scripted.seen) == 3


async def test_no_image(scripted: Scripted, upstream: Upstream):
    """An image the upstream does not have has no list."""
    with pytest.raises(NotThere):
        await upstream.tags("team/app")


async def test_pages_without_end(scripted: Scripted, upstream: Upstream):
    """A list that goes in circles is left."""
    scripted.on("tags/list", tags(link='</v2/team/app/tags/list?again>; rel="next"'))
    await breaks(upstream.tags("team/app"), "large", 200)
    assert len(scripted.seen) == MOST_PAGES


async def test_too_large_a_list(scripted: Scripted, upstream: Upstream):
    """The pages of a list have a bound together."""
    body = json.dumps({"manifests": [], "x": "y" * 3_000_000}).encode()
    scripted.on("referrers", answer(200, body, link='</v2/again>; rel="next"'))
    scripted.on("/v2/again", answer(200, body, link='</v2/again>; rel="next"'))
    await breaks(upstream.referrers("team/app", DIGEST), "large", 200)


@pytest.mark.parametrize("count, aside", [(10, False), (20_000, True)])
async def test_a_large_page_is_read_aside(
    scripted: Scripted, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, count: int, aside: bool
):
    """The tags of a page that would hold up everybody else are looked at in a thread."""
    threads = []
    read = upstream_module.tags
    monkeypatch.setattr(upstream_module, "tags", lambda page: (threads.append(get_ident()), read(page))[1])
    scripted.on("tags/list", tags(*(f"v{number}" for number in range(count))))
    assert len(await upstream.tags("team/app")) == count
    assert (threads != [get_ident()]) is aside


@pytest.mark.parametrize(
    "link", ["http://localhost:1/x?p=2", "https://cdn.example/x?p=2", "//cdn.example/x?p=2", "/x?p=2"]
)
async def test_the_next_page_is_on_the_same_server(scripted: Scripted, client, link: str):
    """A registry behind a proxy may not know its own name; no other host is asked, with our password least of all."""
    wanted = basic("user", "password")
    wants = answer(401, b"{}", www_authenticate='Basic realm="x"')
    scripted.on("tags/list", behind(wanted, tags("a", link=f'<{link}>; rel="next"'), wants))
    scripted.on(r"GET /x\?p=2$", behind(wanted, tags("b"), wants))
    assert await client(username="user", password="password").tags("team/app") == ["a", "b"]


async def test_a_link_that_is_none(scripted: Scripted, upstream: Upstream):
    """A link to what is no address is the upstream's fault; one that is not to the next page is none of ours."""
    scripted.on(
        "tags/list", tags("a", link='<http://\\x>; rel="next"'), tags("a", link='</x>; rel="prev", </y>; rel=first')
    )
    await breaks(upstream.tags("team/app"), "malformed", 200)
    assert await upstream.tags("team/app") == ["a"]


def entry(number: int, artifact_type: str | None = None) -> dict:
    """A descriptor."""
    made = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"%d" % number), "size": number, "annotations": {"a": "b"}}
    return made | ({"artifactType": artifact_type} if artifact_type else {})


def index(*entries: object, **headers: object):
    """A page of referrers."""
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return answer(200, json.dumps(content).encode(), content_type=OCI_INDEX, **headers)


async def test_referrers(scripted: Scripted, upstream: Upstream):
    """The descriptors of all pages, as they are; what is none is left out."""
    scripted.on(
        f"GET /v2/team/app/referrers/{DIGEST}$", index(entry(1), {"digest": "no"}, 5, link='<?p=2>; rel="next"')
    )
    scripted.on(rf"GET /v2/team/app/referrers/{DIGEST}\?p=2$", index(entry(2, "x/y")))
    assert await upstream.referrers("team/app", DIGEST) == [entry(1), entry(2, "x/y")]
    assert scripted.seen[0].headers["accept"] == OCI_INDEX


async def test_referrers_of_a_type(scripted: Scripted, upstream: Upstream):
    """Of the type that is wanted, whether the upstream filters or not."""
    scripted.on(r"\?artifactType=x%2Fy$", index(entry(1), entry(2, "x/y"), entry(3, "z/y")))
    assert await upstream.referrers("team/app", DIGEST, "x/y") == [entry(2, "x/y")]


async def test_no_referrers(scripted: Scripted, upstream: Upstream):
    """None is not the same as no such API."""
    scripted.on("referrers", index())
    assert await upstream.referrers("team/app", DIGEST) == []


@pytest.mark.parametrize(
    "reply",
    [
        answer(404, b"404 page not found"),
        answer(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'),
        answer(400, b"{}"),
        answer(405),
        answer(501),
        answer(200, b"<!doctype html>"),
        answer_json(200, {"errors": []}),
    ],
)
async def test_no_referrers_api(scripted: Scripted, upstream: Upstream, reply):
    """An upstream without the API says so in one way or another."""
    scripted.on("referrers", reply)
    assert await upstream.referrers("team/app", DIGEST) is None


async def test_referrers_that_cannot_be_had(scripted: Scripted, upstream: Upstream):
    """Denials and faults are none of these ways."""
    scripted.on("referrers", answer(403), answer(500), answer(200, b"x", content_encoding="gzip"))
    with pytest.raises(Denied):
        await upstream.referrers("team/app", DIGEST)
    await breaks(upstream.referrers("team/app", DIGEST), "status", 500)
    await breaks(upstream.referrers("team/app", DIGEST), "encoding", 200)
