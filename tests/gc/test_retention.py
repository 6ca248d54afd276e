"""What a repo's retention takes, and what it keeps."""

from __future__ import annotations

import json

import pytest

from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import ManifestUnknown
from artifactapi.oci.fields import FieldsInvalid
from artifactapi.oci.globs import regex
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import ImageName, Tag
from artifactapi.oci.ranges import Page
from artifactapi.registry.retention import mistake
from tests.gc.images import descriptor, has_blob, has_manifest, index, manifest, push_image, put
from tests.gc.test_sweeps import DAYS
from tests.registry.bodies import NAME, OTHER, push

WEEK = {"untagged_days": 7}


@pytest.fixture
def keep(registry):
    """Set the repo's retention."""

    async def settings(**retention):
        await registry.repos.change("docker-internal", {"settings": {"retention": retention}})

    return settings


async def tags_of(registry, name: ImageName = NAME) -> list[str]:
    """The image's tags."""
    listing = await registry.tags.listing(name, Page(1000, ""))
    return json.loads(listing.names)


async def test_off_by_default(registry, collect, wait):
    """Without a retention nothing goes, however old."""
    digest, _ = await push_image(registry, b"config", tag=None)
    await wait(1000 * DAYS)
    await collect()
    assert await has_manifest(registry, digest)


async def test_untagged(registry, collect, wait, keep):
    """What has no tag goes after the days that are set; what is tagged stays."""
    await keep(**WEEK)
    untagged, _ = await push_image(registry, b"1", tag=None)
    tagged, _ = await push_image(registry, b"2")
    await wait(6 * DAYS)
    await collect()
    assert await has_manifest(registry, untagged)
    await wait(DAYS + 1)
    assert (await collect())["manifests"] == 1
    assert not await has_manifest(registry, untagged)
    assert await has_manifest(registry, tagged)


@pytest.mark.parametrize("way", ["moved", "deleted"])
async def test_the_days_count_from_the_tags_end(registry, collect, wait, keep, way):
    """A manifest whose tag moves, or is deleted, has its days from then on."""
    await keep(**WEEK)
    old, _ = await push_image(registry, b"1")
    await wait(100 * DAYS)
    await collect()
    if way == "moved":
        await push_image(registry, b"2")
    else:
        await registry.manifests.delete(NAME, Tag("v1"))
    await wait(6 * DAYS)
    await collect()
    assert await has_manifest(registry, old)
    await wait(DAYS + 1)
    await collect()
    assert not await has_manifest(registry, old)


async def test_pushed_again(registry, collect, wait, keep):
    """A push of the same manifest gives it its days anew."""
    await keep(**WEEK)
    digest, _ = await push_image(registry, b"1", tag=None)
    await wait(6 * DAYS)
    await push_image(registry, b"1", tag=None)
    await wait(6 * DAYS)
    await collect()
    assert await has_manifest(registry, digest)


async def test_children_of_an_index(registry, collect, wait, keep):
    """The manifests of an index are not untagged; when it goes, they have their days from then on."""
    await keep(**WEEK)
    children = [manifest(b"1"), manifest(b"2")]
    for config in (b"1", b"2"):
        await push_image(registry, config, tag=None)
    parent = await put(registry, index(*children), "multi")
    await wait(100 * DAYS)
    await collect()
    assert [await has_manifest(registry, digest_of(child)) for child in children] == [True, True]
    await registry.manifests.delete(NAME, parent)
    await wait(6 * DAYS)
    await collect()
    assert await has_manifest(registry, digest_of(children[0]))
    await wait(DAYS + 1)
    assert (await collect())["manifests"] == 2


async def test_a_child_that_is_a_layer_too(registry, collect, wait, keep):
    """What an index names as a blob first, and as a manifest then, is kept as both, and goes as both."""
    await keep(**WEEK)
    child, _ = await push_image(registry, b"1", tag=None)
    blob = await push(registry, manifest(b"1"))
    entries = [
        descriptor(manifest(b"1"), "application/vnd.oci.image.layer.v1.tar"),
        descriptor(manifest(b"1"), OCI_MANIFEST),
    ]
    parent = await put(
        registry, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    )
    await registry.manifests.put(NAME, Tag("multi"), (await registry.manifests.get(NAME, parent)).content, None, [])
    await wait(100 * DAYS)
    await collect()
    assert (await has_manifest(registry, child), await has_blob(registry, blob)) == (True, True)
    await registry.manifests.delete(NAME, parent)
    await wait(7 * DAYS + 1)
    await collect()
    assert (await has_manifest(registry, child), await has_blob(registry, blob)) == (False, False)


async def test_referrers(registry, collect, wait, keep):
    """What refers to a subject that is there stays; a deleted subject takes it with it after the same period."""
    await keep(**WEEK)
    subject, _ = await push_image(registry, b"1")
    signature = manifest(b"signature", subject=manifest(b"1"))
    await push(registry, b"signature")
    await put(registry, signature)
    await wait(100 * DAYS)
    await collect()
    assert await has_manifest(registry, digest_of(signature))
    await registry.manifests.delete(NAME, subject)
    await wait(6 * DAYS)
    await collect()
    assert await has_manifest(registry, digest_of(signature))
    await wait(DAYS + 1)
    await collect()
    assert not await has_manifest(registry, digest_of(signature))


async def test_newest_tags(registry, collect, wait, keep):
    """Of the tags that match a pattern each image keeps the newest; others, and protected ones, stay."""
    await keep(tags=[{"pattern": "pr-*", "keep": 2}], protect=["pr-important", "v*"])
    for number, tag in enumerate(["pr-important", "v1", "pr-1", "pr-2", "main", "pr-3", "pr-4"]):
        await push_image(registry, b"%d" % number, tag=tag)
    await push_image(registry, b"0", tag="pr-0", name=OTHER)
    await push_image(registry, b"5", tag="pr-1")
    assert (await collect())["tags"] == 2
    assert await tags_of(registry) == ["main", "pr-1", "pr-4", "pr-important", "v1"]
    assert await tags_of(registry, OTHER) == ["pr-0"]
    with pytest.raises(ManifestUnknown):
        await registry.manifests.get(NAME, Tag("pr-3"))


async def test_all_together(registry, collect, wait, keep, database):
    """Old tags, then the manifests they leave, then their blobs: in the end only what is kept is there."""
    await keep(tags=[{"pattern": "*", "keep": 1}], **WEEK)
    for number in range(3):
        await push_image(registry, b"%d" % number, tag=f"v{number}")
    for _ in range(4):
        await collect()
        await wait(8 * DAYS)
    assert await tags_of(registry) == ["v2"]
    assert await database.query("SELECT count(*) FROM manifests") == [(1,)]
    assert await database.query("SELECT count(*) FROM blobs") == [(1,)]


async def test_the_preview(registry, collector, collect, wait, keep):
    """A dry run says which tags and manifests would go and why, and takes none."""
    await keep(tags=[{"pattern": "v*", "keep": 1}], **WEEK)
    untagged, _ = await push_image(registry, b"0", tag=None)
    await push_image(registry, b"1", tag="v1")
    await push_image(registry, b"2", tag="v2")
    await wait(8 * DAYS)
    due = {(one.kind, one.name) for one in await collector.preview(10)}
    assert due >= {("tag", f"{NAME}:v1"), ("manifest", f"{NAME}@{untagged}")}
    assert await tags_of(registry) == ["v1", "v2"]
    assert await has_manifest(registry, untagged)


@pytest.mark.parametrize(
    "glob, matches, others",
    [
        ("v*", ["v", "v1", "v1.2"], ["V1", "xv1"]),
        ("v1.?", ["v1.2"], ["v1x2", "v1.", "v1.22"]),
        ("*-rc*", ["1-rc", "a-rc1"], ["1rc"]),
        ("a.b-c_d", ["a.b-c_d"], ["axb-c_d"]),
    ],
)
async def test_patterns(database, glob, matches, others):
    """* is any characters, ? is one, and all else is itself; the whole tag has to match."""
    for tag in (*matches, *others):
        assert await database.query("SELECT %s ~ %s", (tag, regex(glob))) == [(tag in matches,)]


@pytest.mark.parametrize(
    "setting",
    [
        5,
        {"untagged": 5},
        {"untagged_days": -1},
        {"untagged_days": True},
        {"untagged_days": 1.5},
        {"untagged_days": 36_501},
        {"tags": {"pattern": "*", "keep": 1}},
        {"tags": [{"pattern": "*"}]},
        {"tags": [{"pattern": "*", "keep": -1}]},
        {"tags": [{"pattern": "", "keep": 1}]},
        {"tags": [{"pattern": "(", "keep": 1}]},
        {"tags": [{"pattern": "*", "keep": 1}] * 51},
        {"protect": "v*"},
        {"protect": ["a" * 129]},
    ],
    ids=str,
)
async def test_mistakes(registry, setting):
    """A retention that makes no sense is refused, and says why."""
    assert mistake(setting)
    with pytest.raises(FieldsInvalid, match="retention"):
        await registry.repos.change("docker-internal", {"settings": {"retention": setting}})
