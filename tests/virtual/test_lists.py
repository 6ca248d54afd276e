"""Lists of several members as one, page by page, beside a model."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from artifactapi.metadata.tags import Listing
from artifactapi.oci.ranges import Page
from artifactapi.registry.virtual import merged
from tests.client import Client, digest_of
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream

LINK = re.compile(r'<([^>]+)>; rel="next"')
NAMES = st.sets(st.text("abZ0", min_size=1, max_size=3), max_size=12)


async def pages(client: Client, path: str, key: str) -> list[list[Any]]:
    """All pages from there on, as the links lead."""
    found = []
    link: str | None = path
    while link is not None:
        answer = await client.get(link)
        assert answer.status == 200, answer.body
        found.append(answer.json[key])
        following = LINK.fullmatch(answer.headers.get("Link", ""))
        link = following[1] if following else None
        assert len(found) < 100, "it does not end"
    return found


def page_of(names: list[str], hidden: set[str], page: Page) -> Listing:
    """A page of a member, some of whose names are left out of it afterwards."""
    behind = sorted(name for name in names if name > page.last)
    shown = behind[: page.count]
    names = [name for name in shown if name not in hidden]
    return Listing(json.dumps(names), shown[-1] if shown else "", len(behind) > page.count)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4), st.integers(1, 5))
def test_merged_pages(members: list[tuple[set[str], set[str]]], count: int):
    """Pages of members, with gaps even, become pages that show every name once, in order, and end."""
    shown: list[str] = []
    last, more, turns = "", True, 0
    while more:
        page = Page(count, last)
        listing = merged([page_of(sorted(names), hidden, page) for names, hidden in members], page)
        names = json.loads(listing.names)
        assert len(names) <= count
        shown += names
        last, more, turns = listing.last, listing.more, turns + 1
        assert turns < 200, "it does not end"
    assert shown == sorted(set().union(*(names - hidden for names, hidden in members)))


async def test_tags(client: Client, repos: Admin, upstream: Upstream):
    """Pages of any size show each tag of the members once, in byte order."""
    await repos.change("hub", tags={"deny": ["x*"]})
    await repos.change("virtual", members=["hub"])
    await repos.create("quay", "remote", upstream=upstream.url, prefix="quay/")
    upstream.add_image("app", "v1", "v2", "x1", "x2", "x3", "x4", "z")
    upstream.add_image("quay/app", "v2", "v3", "A")
    await repos.change("virtual", members=["hub", "quay"])
    expected = ["A", "v1", "v2", "v3", "z"]
    for count in (1, 2, 3, 5, 100):
        found = await pages(client, f"/v2/virtual/app/tags/list?n={count}", "tags")
        assert [tag for page in found for tag in page] == expected, count
        assert all(len(page) <= count for page in found)
    assert (await client.get("/v2/virtual/app/tags/list")).json == {"name": "virtual/app", "tags": expected}
    assert (await client.get("/v2/virtual/app/tags/list?last=v2")).json["tags"] == ["v3", "z"]
    assert (await client.get("/v2/virtual/app/tags/list?n=0")).json["tags"] == []
    assert (await client.get("/v2/virtual/missing/tags/list")).code == "NAME_UNKNOWN"


async def test_tags_of_owners(client: Client, repos: Admin):
    """Local members that have the image are merged too."""
    for name, tags in (("team/app", "acd"), ("lab/app", "bcd")):
        for tag in tags:
            await client.push_image(name, tag)
    for count in (1, 3, 4):
        found = await pages(client, f"/v2/virtual/app/tags/list?n={count}", "tags")
        assert [tag for page in found for tag in page] == ["a", "b", "c", "d"]


async def test_referrers(client: Client, repos: Admin, upstream: Upstream):
    """Those of all members, each once, by digest, filtered and in pages."""
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(b"s"), "size": 1}
    expected: dict[str, set[str]] = {"a": set(), "b": set()}
    for name, kinds in (("team/app", "aab"), ("lab/app", "abb")):
        for number, kind in enumerate(kinds):
            digest, _ = await client.push_image(name, None, artifactType=kind, subject=subject, note=f"{kind}{number}")
            expected[kind].add(digest)
    path = f"/v2/virtual/app/referrers/{digest_of(b's')}"
    for kind, query in ((None, ""), ("a", "&artifactType=a"), ("b", "&artifactType=b")):
        wanted = sorted(expected[kind] if kind else expected["a"] | expected["b"])
        for count in (1, 2, 100):
            found = await pages(client, f"{path}?n={count}{query}", "manifests")
            assert [entry["digest"] for page in found for entry in page] == wanted


async def test_an_upstream_that_is_down(client: Client, repos: Admin, upstream: Upstream):
    """A list of which a part is missing, and nobody knows which, is none."""
    await repos.create("down", "remote", upstream="http://127.0.0.1:1")
    await repos.change("virtual", members=["hub", "down"])
    upstream.add_image("app", "v1")
    assert (await client.get("/v2/virtual/app/tags/list")).status == 502


async def test_referrers_of_an_upstream(client: Client, repos: Admin, upstream: Upstream):
    """They are shown for an image that no local member has."""
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(b"s"), "size": 1}
    digest = upstream.add_image("app", "v1", subject=subject)
    answer = await client.get(f"/v2/virtual/app/referrers/{digest_of(b's')}")
    assert [entry["digest"] for entry in answer.json["manifests"]] == [digest]


async def test_the_catalogue(client: Client, repos: Admin, upstream: Upstream):
    """Images of members are shown under the virtual repo's name as well, each once, as far as patterns go."""
    for name in ("team/app", "lab/app", "lab/lib.x", "lab/libyx", "lab/hidden"):
        await client.push_image(name, "v1")
    upstream.add_image("library/app", "v1")
    upstream.add_image("app", "v1")
    await client.get("/v2/hub/library/app/manifests/v1")
    await client.get("/v2/hub/app/manifests/v1")
    await repos.create("second", "virtual", members=[{"repo": "lab", "allow": ["lib.?", "hid*"], "deny": ["*den"]}])
    await repos.change("virtual", members=["team", {"repo": "lab", "deny": ["hidden"]}, "hub"])
    expected = [
        *("hub/app", "hub/library/app", "lab/app", "lab/hidden", "lab/lib.x", "lab/libyx", "second/lib.x", "team/app"),
        *("virtual/app", "virtual/lib.x", "virtual/library/app", "virtual/libyx"),
    ]
    for count in (1, 3, 11, 12, 100):
        found = await pages(client, f"/v2/_catalog?n={count}", "repositories")
        assert [name for page in found for name in page] == expected, count
    assert (await client.get("/v2/_catalog?last=virtual/lib.x")).json["repositories"] == expected[-2:]
