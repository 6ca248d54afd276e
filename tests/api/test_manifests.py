"""End-points 3, 7 and 9: manifests as a client sees them."""

from __future__ import annotations

import json

import pytest

from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of

NAME = "docker-internal/team/app"
ABSENT = "sha256:" + "0" * 64


async def image(client: Client, name: str = NAME, **fields) -> bytes:
    """A manifest whose content is there, not yet pushed itself."""
    digest, manifest = await client.push_image(name, None, b"layer", **fields)
    assert (await client.request("DELETE", f"/v2/{name}/manifests/{digest}")).status == 202
    return manifest


@pytest.mark.parametrize("reference", ["v1", "digest"])
async def test_put_and_get(client: Client, reference: str):
    """What was put is served byte for byte with its media type, by tag and by digest, and HEAD says the same."""
    manifest = await image(client)
    digest = digest_of(manifest)
    put = await client.put_manifest(NAME, digest if reference == "digest" else reference, manifest)
    assert (put.status, put.body) == (201, b"")
    assert put.headers["Location"] == f"/v2/{NAME}/manifests/{digest}"
    assert put.headers["Docker-Content-Digest"] == digest
    for wanted in {reference.replace("digest", digest), digest}:
        got = await client.get(f"/v2/{NAME}/manifests/{wanted}")
        head = await client.request("HEAD", f"/v2/{NAME}/manifests/{wanted}")
        assert (got.status, got.body, head.status, head.body) == (200, manifest, 200, b"")
        for answer in (got, head):
            assert answer.headers["Content-Type"] == OCI_MANIFEST
            assert answer.headers["Content-Length"] == str(len(manifest))
            assert answer.headers["Docker-Content-Digest"] == digest
            assert answer.headers["X-Artifact-Source"] == "local"


async def test_sha512(client: Client):
    """A manifest can be put under its sha512 digest, and is served under it."""
    manifest = await image(client)
    digest = digest_of(manifest, "sha512")
    assert (await client.put_manifest(NAME, digest, manifest)).headers["Docker-Content-Digest"] == digest
    assert (await client.get(f"/v2/{NAME}/manifests/{digest}")).body == manifest


async def test_conditional(client: Client):
    """A manifest that the client has is 304; a tag that moved is not."""
    digest, _ = await client.push_image(NAME, "v1", b"one")
    answer = await client.get(f"/v2/{NAME}/manifests/v1", if_none_match=f'"{digest}"')
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", f'"{digest}"')
    await client.push_image(NAME, "v1", b"two")
    assert (await client.get(f"/v2/{NAME}/manifests/v1", if_none_match=f'"{digest}"')).status == 200


async def test_odd_bytes_are_kept(client: Client):
    """White space, unknown fields and the order of fields are kept; parameters of the media type are not."""
    manifest = b" \n" + (await image(client)).replace(b"{", b'{"x-unknown": [1,  2], ', 1) + b"\n\n"
    put = await client.put_manifest(NAME, "odd", manifest, f"{OCI_MANIFEST}; charset=utf-8")
    assert put.status == 201
    got = await client.get(f"/v2/{NAME}/manifests/odd")
    assert (got.body, got.headers["Content-Type"]) == (manifest, OCI_MANIFEST)


async def test_unknown_media_types_are_welcome(client: Client):
    """A manifest of a type nobody knows is kept and served with that type."""
    put = await client.put_manifest(NAME, "x", b'{"hello": "world"}', "application/vnd.example.thing.v1+json")
    assert put.status == 201
    got = await client.get(f"/v2/{NAME}/manifests/x")
    assert got.headers["Content-Type"] == "application/vnd.example.thing.v1+json"


async def test_a_tag_moves(client: Client):
    """The last PUT has the tag; the manifest it had before is still there by digest."""
    first, manifest = await client.push_image(NAME, "v1", b"one")
    second, _ = await client.push_image(NAME, "v1", b"two")
    assert (await client.get(f"/v2/{NAME}/manifests/v1")).headers["Docker-Content-Digest"] == second
    assert (await client.get(f"/v2/{NAME}/manifests/{first}")).body == manifest


async def test_several_tags_in_one_put(client: Client):
    """7b: each tag of the query stands for the manifest, and is named in the answer."""
    manifest = await image(client)
    digest, tags = digest_of(manifest), [f"t{number}" for number in range(12)]
    query = "&".join(f"tag={tag}" for tag in [*tags, "t0"])
    put = await client.put_manifest(NAME, f"{digest}?{query}", manifest)
    assert put.status == 201
    assert put.headers.get_all("OCI-Tag") == tags
    for tag in tags:
        assert (await client.get(f"/v2/{NAME}/manifests/{tag}")).body == manifest


async def test_too_many_tags(client: Client):
    """More tags than are taken at once are 414, and none is taken."""
    manifest = await image(client)
    query = "&".join(f"tag=t{number}" for number in range(1001))
    answer = await client.put_manifest(NAME, f"{digest_of(manifest)}?{query}", manifest)
    assert (answer.status, answer.code) == (414, "URI_TOO_LONG")
    assert (await client.get(f"/v2/{NAME}/tags/list")).json["tags"] == []


async def test_subject(client: Client):
    """A subject, even one that is missing, is taken and named in the answer."""
    manifest = await image(client, subject={"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 7})
    put = await client.put_manifest(NAME, "v1", manifest)
    assert (put.status, put.headers["OCI-Subject"]) == (201, ABSENT)


async def test_an_index(client: Client):
    """An index whose manifests are there is taken, an empty one too."""
    child, manifest = await client.push_image(NAME, None, b"layer")
    entries = [{"mediaType": OCI_MANIFEST, "digest": child, "size": len(manifest)}]
    for tag, manifests in (("multi", entries), ("empty", [])):
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
        assert (await client.put_manifest(NAME, tag, index, OCI_INDEX)).status == 201
        assert (await client.get(f"/v2/{NAME}/manifests/{tag}")).body == index


async def test_missing_content(client: Client):
    """A manifest that names what this image does not have is MANIFEST_BLOB_UNKNOWN, though another image has it."""
    manifest = await image(client, "docker-internal/elsewhere")
    answer = await client.put_manifest(NAME, "v1", manifest)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    named = json.loads(manifest)
    assert set(answer.json["errors"][0]["detail"]["missing"]) == {
        named["config"]["digest"],
        named["layers"][0]["digest"],
    }
    assert (await client.get(f"/v2/{NAME}/manifests/v1")).status == 404


async def test_a_missing_child(client: Client):
    """An index whose manifest is missing is refused, even if a blob has that digest."""
    blob = await client.push_blob(NAME, b"{}")
    entries = [{"mediaType": OCI_MANIFEST, "digest": blob, "size": 2}]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    answer = await client.put_manifest(NAME, "v1", index, OCI_INDEX)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_a_foreign_layer_may_be_missing(client: Client):
    """A layer with urls need not be pushed."""
    foreign = {"mediaType": "a/b", "digest": ABSENT, "size": 1, "urls": ["https://elsewhere.example/"]}
    manifest = json.loads(await image(client))
    manifest["layers"].append(foreign)
    assert (await client.put_manifest(NAME, "v1", json.dumps(manifest).encode())).status == 201


async def test_the_wrong_digest(client: Client):
    """A manifest that is put under another digest is DIGEST_INVALID."""
    answer = await client.put_manifest(NAME, ABSENT, await image(client))
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("size, status", [(4 * 1024 * 1024, 201), (4 * 1024 * 1024 + 1, 413)])
@pytest.mark.parametrize("chunked", [True, False])
async def test_the_size_limit(client: Client, size: int, status: int, chunked: bool):
    """Four MiB are taken, a byte more is 413; announced or not."""
    manifest = await image(client)
    manifest += b" " * (size - len(manifest))
    answer = await client.put_manifest(NAME, "v1", iter([manifest]) if chunked else manifest)
    assert answer.status == status
    got = await client.get(f"/v2/{NAME}/manifests/v1")
    assert (got.body == manifest) is (status == 201)


async def test_delete_a_tag(client: Client):
    """Deleting a tag deletes the tag alone."""
    digest, _ = await client.push_image(NAME, "v1", b"one")
    assert (await client.put_manifest(NAME, "v2", (await client.get(f"/v2/{NAME}/manifests/v1")).body)).status == 201
    assert (await client.request("DELETE", f"/v2/{NAME}/manifests/v1")).status == 202
    assert (await client.get(f"/v2/{NAME}/manifests/v1")).code == "MANIFEST_UNKNOWN"
    for reference in ("v2", digest):
        assert (await client.get(f"/v2/{NAME}/manifests/{reference}")).status == 200
    assert (await client.request("DELETE", f"/v2/{NAME}/manifests/v1")).status == 404


async def test_delete_a_manifest(client: Client):
    """Deleting a manifest deletes its tags, at once."""
    digest, _ = await client.push_image(NAME, "v1", b"one")
    assert (await client.request("DELETE", f"/v2/{NAME}/manifests/{digest}")).status == 202
    for reference in ("v1", digest):
        assert (await client.get(f"/v2/{NAME}/manifests/{reference}")).status == 404
    assert (await client.get(f"/v2/{NAME}/tags/list")).json["tags"] == []


async def test_deletion_that_is_off(client: Client):
    """In a repo with allow_delete false, nothing is deleted: 405 for tags, manifests and blobs."""
    digest, manifest = await client.push_image(NAME, "v1", b"one")
    blob = json.loads(manifest)["layers"][0]["digest"]
    settings = json.dumps({"settings": {"allow_delete": False}}).encode()
    assert (await client.request("PATCH", "/api/v1/repos/docker-internal", settings)).status == 200
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{blob}"):
        answer = await client.request("DELETE", f"/v2/{NAME}/{path}")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert (await client.get(f"/v2/{NAME}/{path}")).status == 200


async def test_unknown(client: Client):
    """What is not there is MANIFEST_UNKNOWN; in a repo that is not there NAME_UNKNOWN."""
    for path, code in ((f"{NAME}/manifests/v1", "MANIFEST_UNKNOWN"), ("nowhere/app/manifests/v1", "NAME_UNKNOWN")):
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/v2/{path}")
            assert (answer.status, answer.code) == (404, code)
    answer = await client.put_manifest("nowhere/app", "v1", b"{}", "a/b")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
