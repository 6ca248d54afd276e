"""Manifests of an image: get, put, delete, and the lists of tags and images."""

from __future__ import annotations

import json

import pytest

from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    Unsupported,
)
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.manifests import SMALL as PARSED_AT_ONCE
from tests.registry.bodies import NAME, NOWHERE, OTHER, outcomes, push

LAYER = "application/vnd.oci.image.layer.v1.tar"
V1 = Tag("v1")


def descriptor(content: bytes, media_type: str = LAYER, **fields) -> dict:
    """A descriptor of that content."""
    return {"mediaType": media_type, "digest": str(digest_of(content)), "size": len(content), **fields}


def image(*layers: dict, **fields) -> bytes:
    """An image manifest of these layers, whose config is b"{}"."""
    config = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": list(layers), **fields}
    return json.dumps(manifest).encode()


def index(*children: bytes, **fields) -> bytes:
    """An index of these manifests."""
    entries = [descriptor(child, OCI_MANIFEST) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **fields}).encode()


async def put(registry, content: bytes, reference: Digest | Tag = V1, *tags: str, name=NAME, media_type=None):
    """PUT it; its digest."""
    wanted = media_type or json.loads(content)["mediaType"]
    digest, _ = await registry.manifests.put(name, reference, content, wanted, [Tag(tag) for tag in tags])
    return digest


async def is_missing(registry, *references: Digest | Tag, name=NAME) -> None:
    """None of these is a manifest of the image."""
    for reference in references:
        with pytest.raises(ManifestUnknown):
            await registry.manifests.get(name, reference)


@pytest.mark.parametrize("padding", [0, PARSED_AT_ONCE])
@pytest.mark.parametrize("algorithm", [None, "sha256", "sha512"])
async def test_put(registry, algorithm, padding):
    """A manifest is got byte for byte under its digest and under every tag of its push, small or large."""
    await push(registry, b"{}")
    content = image(annotations={"padding": "x" * padding})
    digest = digest_of(content, algorithm or "sha256")
    assert await put(registry, content, digest if algorithm else V1, "v2", "v3") == digest
    for reference in (digest, Tag("v2"), Tag("v3"), *([] if algorithm else [V1])):
        stored = await registry.manifests.get(NAME, reference)
        assert (stored.content, stored.media_type, stored.digest) == (content, OCI_MANIFEST, str(digest))


async def test_unknown(registry):
    """What is not there is unknown; of a repo that does not exist that is what is said."""
    await is_missing(registry, V1, digest_of(b"none"))
    with pytest.raises(NameUnknown):
        await registry.manifests.get(NOWHERE, V1)
    with pytest.raises(NameUnknown):
        await put(registry, index(), name=NOWHERE)


@pytest.mark.parametrize("padding", [0, PARSED_AT_ONCE])
@pytest.mark.parametrize(
    "content, reference, error",
    [
        (index(), digest_of(b"other"), DigestInvalid),
        (index(), digest_of(b"other", "sha512"), DigestInvalid),
        (b'{"schemaVersion": 1, "mediaType": "%s"}' % OCI_MANIFEST.encode(), V1, ManifestInvalid),
    ],
)
async def test_refused(registry, content, reference, error, padding):
    """A manifest that is none, or not the one it is said to be, is refused; nothing of it is kept."""
    content += b" " * padding
    with pytest.raises(error):
        await put(registry, content, reference, "v2")
    await is_missing(registry, V1, Tag("v2"), digest_of(content))


async def test_what_it_names_must_be_there(registry, database):
    """Config, layers and children must be the image's own: another image's do not count. Else nothing is kept."""
    child = image()
    await push(registry, b"{}", OTHER)
    await push(registry, b"layer", OTHER)
    await put(registry, child, name=OTHER)
    before = await database.query("SELECT name FROM images")
    for content, missing in (
        (image(descriptor(b"layer")), [b"{}", b"layer"]),
        (index(child), [child]),
        (index(child, b"none"), [child, b"none"]),
    ):
        with pytest.raises(ManifestBlobUnknown) as error:
            await put(registry, content)
        assert error.value.status == 404
        assert sorted(error.value.detail["missing"]) == sorted(str(digest_of(m)) for m in missing)
    await is_missing(registry, V1)
    assert await database.query("SELECT name FROM images") == before


async def test_what_need_not_be_there(registry):
    """A subject, and layers that a licence may forbid to push, may be missing."""
    await push(registry, b"{}")
    foreign = descriptor(b"foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://x/y"])
    await put(registry, image(foreign, subject=descriptor(b"none", OCI_MANIFEST)))


async def test_an_index_of_an_index(registry):
    """What is there may be named, however deep."""
    await push(registry, b"{}")
    await put(registry, image())
    await put(registry, index(image()))
    digest = await put(registry, index(index(image()), image()))
    assert (await registry.manifests.get(NAME, V1)).digest == str(digest)


async def test_puts_and_deletes_of_what_they_name(registry):
    """A PUT that meets the deletion of its layer, or of its child, was before it or is told; never anything else."""
    await push(registry, b"{}")
    for _ in range(10):
        await push(registry, b"layer")
        await put(registry, image(), Tag("child"))
        told = await outcomes(
            put(registry, image(descriptor(b"layer"))),
            registry.blobs.delete(NAME, digest_of(b"layer")),
            put(registry, index(image())),
            registry.manifests.delete(NAME, digest_of(image())),
        )
        assert told[1] is None
        assert told[3] is None
        assert all(isinstance(t, Digest | ManifestBlobUnknown) for t in (told[0], told[2])), told
        with pytest.raises(BlobUnknown):
            await registry.blobs.find(NAME, digest_of(b"layer"))


async def test_pushes_of_one_tag_at_the_same_time(registry):
    """Of many who move a tag at once all succeed, and it stands for one of theirs; each is there by its digest."""
    contents = [index(annotations={"n": str(n)}) for n in range(8)]
    digests = await outcomes(*(put(registry, content, V1, "v2") for content in contents))
    assert digests == [digest_of(content) for content in contents]
    got = [(await registry.manifests.get(NAME, tag)).content for tag in (V1, Tag("v2"))]
    assert set(got) <= set(contents)
    for digest in digests:
        await registry.manifests.get(NAME, digest)


async def test_a_repo_is_deleted_meanwhile(registry):
    """Pushes to a repo that is being deleted succeed before, or are told that there is none: never anything else."""
    for turn in range(10):
        await registry.repos.ensure("short-lived", "docker", "local")
        name = type(NAME)("short-lived", f"image/{turn}")
        told = await outcomes(
            put(registry, index(), name=name),
            registry.repos.delete("short-lived", force=True),
            push(registry, b"small", name),
            push(registry, b"big" * 100_000, name),
            registry.blobs.mount(name, digest_of(b"small"), None),
        )
        assert told[1] is None
        expected = (Digest, bool, NameUnknown)
        assert all(isinstance(t, expected) or getattr(t, "status", 0) == 409 for t in told if t is not None), told


async def test_delete(registry):
    """A tag is deleted alone; a digest with all its tags."""
    digest = await put(registry, index(), V1, "v2", "v3")
    await registry.manifests.delete(NAME, V1)
    await is_missing(registry, V1)
    assert (await registry.manifests.get(NAME, Tag("v2"))).digest == str(digest)
    await registry.manifests.delete(NAME, digest)
    await is_missing(registry, digest, Tag("v2"), Tag("v3"))
    for gone in (V1, digest):
        with pytest.raises(ManifestUnknown):
            await registry.manifests.delete(NAME, gone)


async def test_delete_where_it_cannot_be(registry):
    """In a repo that lets nothing be deleted tags and manifests stay."""
    digest = await put(registry, index())
    await registry.repos.change(NAME.repo, {"settings": {"allow_delete": False}})
    for reference in (V1, digest, Tag("none")):
        with pytest.raises(Unsupported):
            await registry.manifests.delete(NAME, reference)
    assert (await registry.manifests.get(NAME, V1)).digest == str(digest)
    with pytest.raises(NameUnknown):
        await registry.manifests.delete(NOWHERE, V1)


async def test_lists(registry):
    """Tags and images are listed page by page; an image that never was is unknown."""
    await put(registry, index(), V1, "v2", "v3")
    await put(registry, index(), name=OTHER)
    listing = await registry.tags.listing(NAME, Page(2, "v1"))
    assert (json.loads(listing.names), listing.more) == (["v2", "v3"], False)
    catalog = await registry.tags.catalog(Page(1, ""))
    assert (json.loads(catalog.names), catalog.last, catalog.more) == ([str(NAME)], str(NAME), True)
    with pytest.raises(NameUnknown):
        await registry.tags.listing(NOWHERE, Page(2, ""))
