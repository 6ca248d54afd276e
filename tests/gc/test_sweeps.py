"""What is collected, and what is not."""

from __future__ import annotations

import pytest

from artifactapi.oci.errors import BlobUnknown, BlobUploadUnknown
from tests.gc.conftest import HOUR
from tests.gc.images import has_blob, index, manifest, push_image, put
from tests.registry import balance
from tests.registry.bodies import BIG, NAME, OTHER, Pieces, content_of, push

DAYS = 24 * HOUR
UNUSED = 1.25 * DAYS + 1


async def blobs(database) -> int:
    """How many there are, in whatever image."""
    return (await database.query("SELECT count(*) FROM blobs"))[0][0]


async def test_nothing_to_do(collect, registry):
    """A registry without garbage loses nothing."""
    _, layers = await push_image(registry, b"config", BIG)
    assert await collect() == {}
    assert await content_of(registry, NAME, layers[1]) == BIG


async def test_idle_sessions(registry, collect, wait, database, directory):
    """A session that nobody touched for a day goes, and so do its bytes; a touched one stays."""
    idle, touched = await registry.uploads.start(NAME), await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, idle.id, Pieces(BIG), None)
    await registry.uploads.append(NAME, touched.id, Pieces(BIG), None)
    await wait(DAYS / 2)
    await registry.uploads.append(NAME, touched.id, Pieces(b"more"), None)
    await wait(DAYS / 2 + 1)
    assert await collect() == {"sessions": 1}
    with pytest.raises(BlobUploadUnknown):
        await registry.uploads.status(NAME, idle.id)
    await wait(HOUR)
    assert await collect() == {"objects": 1}
    assert balance.staged(directory) == {touched.key}


async def test_unused_blobs(registry, collect, wait, database, directory):
    """A blob that no manifest names goes from its image after the grace of uploads, its bytes after that of blobs."""
    digest = await push(registry, BIG)
    await wait(DAYS)
    assert await collect() == {}
    await wait(UNUSED - DAYS)
    assert await collect() == {"links": 1}
    assert not await has_blob(registry, digest)
    assert await blobs(database) == 1
    await wait(HOUR + 1)
    assert await collect() == {"blobs": 1, "bytes": len(BIG), "objects": 1}
    assert balance.objects(directory) == set()


async def test_used_blobs_stay(registry, collect, wait):
    """Whatever a manifest names stays for ever, tagged or not."""
    _, tagged = await push_image(registry, b"config", BIG)
    _, untagged = await push_image(registry, b"config 2", BIG + b"2", tag=None)
    for _ in range(3):
        await wait(10 * DAYS)
        assert await collect() == {}
    for digest in (*tagged, *untagged):
        assert await has_blob(registry, digest)


async def test_after_a_manifest_is_deleted(registry, collect, wait, database):
    """What only it named goes after the graces, counted from its deletion; what another names stays."""
    first, layers = await push_image(registry, b"config 1", BIG, b"only here")
    await push_image(registry, b"config 2", BIG, tag="v2")
    await wait(UNUSED)
    assert await collect() == {"objects": 1}, "of the layer that was there already"
    await registry.manifests.delete(NAME, first)
    await wait(DAYS)
    assert await collect() == {}
    await wait(UNUSED - DAYS)
    assert await collect() == {"links": 2}
    assert [await has_blob(registry, layer) for layer in layers] == [False, True, False]
    await wait(HOUR + 1)
    assert (await collect())["blobs"] == 2
    assert await content_of(registry, NAME, layers[1]) == BIG


async def test_a_blob_that_is_a_manifest_too(registry, collect, wait):
    """A manifest's bytes that were pushed as a blob as well go when the index that names their digest is gone."""
    await push_image(registry, b"config")
    blob = await push(registry, manifest(b"config"))
    parent = await put(registry, index(manifest(b"config")), "multi")
    await wait(UNUSED)
    await collect()
    await registry.manifests.delete(NAME, parent)
    await wait(UNUSED)
    assert await collect() == {"links": 1}
    assert not await has_blob(registry, blob)


async def test_another_image_keeps_it(registry, collect, wait, directory):
    """A blob that another image has keeps its bytes."""
    digest = await push(registry, BIG)
    await registry.blobs.mount(OTHER, digest, NAME)
    await put(registry, manifest(BIG), "v1", OTHER)
    await wait(UNUSED)
    assert await collect() == {"links": 1}
    await wait(UNUSED)
    assert await collect() == {}
    assert await content_of(registry, OTHER, digest) == BIG


@pytest.mark.parametrize("way", ["repo", "blob"])
async def test_unlinked_by_request(registry, collect, wait, database, way):
    """A blob that a client deletes, or whose repo is deleted, goes after the grace of blobs."""
    digest = await push(registry, BIG)
    await wait(UNUSED)
    if way == "repo":
        await registry.repos.delete("docker-internal", force=True)
    else:
        await registry.blobs.delete(NAME, digest)
    assert await collect() == {}
    await wait(HOUR + 1)
    assert await collect() == {"blobs": 1, "bytes": len(BIG), "objects": 1}
    await registry.repos.ensure("docker-internal", "docker", "local")


async def test_a_blob_whose_upload_is_in_the_outbox(registry, collect, wait, database, directory):
    """What an upload has left beside its object may still wait in the outbox when the blob goes: all of it goes."""
    digest = await push(registry, BIG)
    key = (await registry.blobs.find(NAME, digest)).key
    await database.query(
        "INSERT INTO doomed_objects (key, store_state, keep, after) VALUES (%s, '{}', %s, now() + '2 hours')",
        (key, key),
    )
    await registry.blobs.delete(NAME, digest)
    await wait(HOUR + 1)
    assert await collect() == {"blobs": 1, "bytes": len(BIG)}
    await wait(HOUR)
    assert await collect() == {"objects": 1}
    assert balance.objects(directory) == set()


async def test_pushed_again(registry, collect, wait, directory):
    """A digest that was collected can be pushed again, under another key."""
    digest = await push(registry, BIG)
    key = (await registry.blobs.find(NAME, digest)).key
    await wait(UNUSED)
    await collect()
    await wait(HOUR + 1)
    await collect()
    await push(registry, BIG)
    assert (await registry.blobs.find(NAME, digest)).key != key
    assert await content_of(registry, NAME, digest) == BIG


# The promise


async def test_head_is_a_promise(registry, collect, wait):
    """A blob for which HEAD was answered lives for the grace from then on."""
    digest = await push(registry, BIG)
    await wait(UNUSED - 1)
    await registry.blobs.promise(NAME, digest)
    await wait(DAYS)
    assert await collect() == {}
    assert await has_blob(registry, digest)
    await wait(UNUSED)
    assert await collect() == {"links": 1}


async def test_head_is_cheap(registry, database, wait):
    """The row is written only when a quarter of the lease has passed."""
    digest = await push(registry, BIG)
    version = "SELECT xmin::text FROM image_blobs"
    before = await database.query(version)
    await wait(5 * HOUR)
    [aged] = await database.query(version)
    await registry.blobs.promise(NAME, digest)
    assert await database.query(version) == [aged] != before
    await wait(2 * HOUR)
    await registry.blobs.promise(NAME, digest)
    assert await database.query("SELECT now() - idle_since < '1 minute' FROM image_blobs") == [(True,)]


async def test_a_promise_that_comes_too_late(registry, collect, wait, database):
    """HEAD for a blob that goes at this moment is 404, not a promise that nobody keeps."""
    digest = await push(registry, BIG)
    await wait(DAYS)
    blob = await registry.blobs.find(NAME, digest)
    await database.query("DELETE FROM image_blobs")
    registry.blobs._lookups.get = lambda key: answered(blob)
    with pytest.raises(BlobUnknown):
        await registry.blobs.promise(NAME, digest)
    del registry.blobs._lookups.get


async def answered(value):
    """An answer that was right a moment ago."""
    return value


@pytest.mark.parametrize("way", ["mount", "push"])
async def test_mount_and_push_are_promises(registry, collect, wait, way):
    """A blob that is mounted or pushed again lives for the grace from then on."""
    digest = await push(registry, BIG)
    await wait(UNUSED - 1)
    if way == "mount":
        await registry.blobs.mount(NAME, digest, NAME)
    else:
        await push(registry, BIG)
    await wait(DAYS)
    assert "links" not in await collect()
    assert await has_blob(registry, digest)
