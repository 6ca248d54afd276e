"""End-points 1, 8 and 12, and the catalogue: lists as a client sees them."""

from __future__ import annotations

import json
import re

import pytest

from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of

NAME = "docker-internal/team/app"
SUBJECT = "sha256:" + "5" * 64
ANY = "application/vnd.example+json"


async def tag(client: Client, *tags: str, name: str = NAME) -> None:
    """Put a manifest under these tags."""
    for each in tags:
        assert (await client.put_manifest(name, each, b"{}", ANY)).status == 201


async def pages(client: Client, path: str, key: str) -> list[list]:
    """All pages of a list, following Link."""
    found = []
    while path:
        answer = await client.get(path)
        assert answer.status == 200, answer.body
        found.append(answer.json[key])
        link = answer.headers.get("Link", "")
        path = re.fullmatch(r'<(/[^>]+)>; rel="next"', link)[1] if link else ""
    return found


async def test_base(client: Client):
    """End-point 1 says which API this is."""
    for path in ("/v2", "/v2/"):
        answer = await client.get(path)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


async def test_tags_in_byte_order(client: Client):
    """Tags sort by byte, whatever the database's locale; `name` is the repo and the image."""
    given = ["b", "a", "B", "_x", "a.1", "a-1", "10", "9"]
    await tag(client, *given)
    answer = await client.get(f"/v2/{NAME}/tags/list")
    assert answer.json == {"name": NAME, "tags": sorted(given)}
    assert answer.headers["X-Artifact-Source"] == "local"
    assert "Link" not in answer.headers


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
async def test_pages_of_tags(client: Client, n: int):
    """Links lead through all tags, n at a time, each once."""
    given = ["a", "b", "c", "d", "e"]
    await tag(client, *given)
    found = await pages(client, f"/v2/{NAME}/tags/list?n={n}", "tags")
    assert found == [given[at : at + n] for at in range(0, 5, n)]


@pytest.mark.parametrize(
    "query, expected",
    [
        ("last=b", ["c", "d"]),
        ("last=bb", ["c", "d"]),
        ("last=z", []),
        ("n=0", []),
        ("n=1&last=b", ["c"]),
        ("last=", ["a", "b", "c", "d"]),
    ],
)
async def test_last_is_exclusive(client: Client, query: str, expected: list[str]):
    """`last` is not in the page, and need not exist; no tags are asked for with n=0."""
    await tag(client, "a", "b", "c", "d")
    answer = await client.get(f"/v2/{NAME}/tags/list?{query}")
    assert answer.json["tags"] == expected
    assert ("Link" in answer.headers) is (query == "n=1&last=b")


async def test_tags_of_an_unknown_image(client: Client):
    """An image or a repo that is not there is NAME_UNKNOWN."""
    for name in ("docker-internal/nothing", "nowhere/app"):
        answer = await client.get(f"/v2/{name}/tags/list")
        assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


async def test_an_image_without_tags(client: Client):
    """An image whose manifests have no tags has an empty list."""
    await client.push_image(NAME, None, b"layer")
    assert (await client.get(f"/v2/{NAME}/tags/list")).json == {"name": NAME, "tags": []}


async def test_catalogue(client: Client):
    """Images of all repos that have a manifest, as repo and image, page by page."""
    names = sorted(["docker-internal/b", "docker-internal/a/x", "docker-internal/a", "other/z"])
    for name in names:
        await tag(client, "v1", name=name)
    await client.push_blob("other/only-a-blob", b"x")
    assert await pages(client, "/v2/_catalog", "repositories") == [names]
    assert await pages(client, "/v2/_catalog?n=3", "repositories") == [names[:3], names[3:]]
    assert (await client.get("/v2/_catalog?n=0")).json == {"repositories": []}


async def attach(client: Client, artifact_type: str | None = None, config: str = "a/config", **fields) -> dict:
    """Push a referrer of SUBJECT; the descriptor the list should show."""
    blob = await client.push_blob(NAME, b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": config, "digest": blob, "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": SUBJECT, "size": 1},
        **({"artifactType": artifact_type} if artifact_type else {}),
        **fields,
    }
    content = json.dumps(manifest).encode()
    digest = digest_of(content)
    assert (await client.put_manifest(NAME, digest, content)).status == 201
    shown = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(content), "artifactType": artifact_type or config}
    return shown | ({"annotations": fields["annotations"]} if "annotations" in fields else {})


def referrers(query: str = "", name: str = NAME, subject: str = SUBJECT) -> str:
    return f"/v2/{name}/referrers/{subject}{query}"


def by_digest(descriptors: list[dict]) -> list[dict]:
    return sorted(descriptors, key=lambda descriptor: descriptor["digest"])


async def test_referrers(client: Client):
    """All manifests with that subject, with their artifact types and annotations, as an index."""
    expected = [
        await attach(client, "a/sig", annotations={"k": "v"}),
        await attach(client),
        await attach(client, "a/b"),
    ]
    answer = await client.get(referrers())
    assert answer.status == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert "OCI-Filters-Applied" not in answer.headers
    assert answer.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": by_digest(expected)}


async def test_filtered_referrers(client: Client):
    """A filter by artifact type is applied and named."""
    wanted, _ = await attach(client, "a/sig"), await attach(client, "a/sbom")
    answer = await client.get(referrers("?artifactType=a/sig"))
    assert answer.json["manifests"] == [wanted]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert (await client.get(referrers("?artifactType=none/such"))).json["manifests"] == []


async def test_pages_of_referrers(client: Client):
    """Links lead through all referrers, the filter kept."""
    expected = by_digest([await attach(client, "a/sig", annotations={"n": str(n)}) for n in range(5)])
    found = await pages(client, referrers("?n=2&artifactType=a/sig"), "manifests")
    assert found == [expected[:2], expected[2:4], expected[4:]]


@pytest.mark.parametrize("name", [NAME, "docker-internal/never/was"])
async def test_referrers_of_nothing(client: Client, name: str):
    """An unknown subject or image has none: 200, not 404."""
    answer = await client.get(referrers(name=name))
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert answer.headers["Content-Type"] == OCI_INDEX


async def test_a_fallback_tag_is_folded_in(client: Client):
    """What an old client keeps under the tag sha256-<hex> is in the list, each once, filtered and paged as well."""
    known = await attach(client, "a/sig")
    digest, content = await client.push_image(NAME, None, b"signature")
    old = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(content), "artifactType": "a/old"}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [known, old]}).encode()
    assert (await client.put_manifest(NAME, SUBJECT.replace(":", "-"), index, OCI_INDEX)).status == 201
    assert (await client.get(referrers())).json["manifests"] == by_digest([known, old])
    assert (await client.get(referrers("?artifactType=a/old"))).json["manifests"] == [old]
    assert await pages(client, referrers("?n=1"), "manifests") == [[d] for d in by_digest([known, old])]


async def test_a_fallback_tag_that_is_no_index(client: Client):
    """Anything else under such a tag adds nothing."""
    assert (await client.put_manifest(NAME, SUBJECT.replace(":", "-"), b'{"manifests": 7}', ANY)).status == 201
    assert (await client.get(referrers())).json["manifests"] == []


async def test_referrers_of_no_digest(client: Client):
    """A subject that is no digest is 400; a repo that is not there 404."""
    answer = await client.get(referrers(subject="latest"))
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await client.get(referrers(name="nowhere/app"))).code == "NAME_UNKNOWN"


async def test_a_deleted_referrer_is_gone(client: Client):
    """A referrer that is deleted is not in the list any more."""
    shown = await attach(client, "a/sig")
    assert (await client.request("DELETE", f"/v2/{NAME}/manifests/{shown['digest']}")).status == 202
    assert (await client.get(referrers())).json["manifests"] == []


@pytest.mark.parametrize("depth", [100, 950])
async def test_fallback_tags_of_any_depth(client: Client, depth: int):
    """What else a client has put into the descriptors of a fallback tag's index is not shown, however deep it is."""
    await tag(client, "v1")
    entry = {"mediaType": ANY, "digest": digest_of(b"{}"), "size": 2, "artifactType": "application/a"}
    deep = json.dumps({**entry, "x": 0}).replace('"x": 0', f'"x": {"[" * depth}{"]" * depth}')
    content = json.dumps({"schemaVersion": 2, "pad": "p" * 70_000, "manifests": 0}).replace("0}", f"[{deep}]}}")
    put = await client.put_manifest(NAME, SUBJECT.replace(":", "-"), content.encode(), OCI_INDEX)
    answer = await client.get(f"/v2/{NAME}/referrers/{SUBJECT}")
    assert put.status == 201, put.body
    assert (answer.status, answer.json["manifests"]) == (200, [entry])
