"""Blobs of an image: find, open, mount, delete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from artifactapi.objects.interface import ObjectMissing
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import BlobUnknown, NameUnknown, Unsupported
from tests.registry.bodies import BIG, NAME, NOWHERE, OTHER, SMALL, content_of, outcomes, push


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_only_where_it_was_pushed(registry, content):
    """An image serves what was pushed to it; another image, or repo, does not have it."""
    digest = await push(registry, content)
    assert await content_of(registry, NAME, digest) == content
    for name, error in ((OTHER, BlobUnknown), (NOWHERE, NameUnknown)):
        with pytest.raises(error):
            await registry.blobs.find(name, digest)


async def test_a_range(registry):
    """A blob in the store is opened at any place."""
    blob = await registry.blobs.find(NAME, await push(registry, BIG))
    reader = await registry.blobs.open(blob, 1000, 10)
    assert await reader.read() == BIG[1000:1010]
    reader.close()
    with pytest.raises(ObjectMissing):
        await registry.blobs.open(replace(blob, key="blobs/00/none"), 0, 1)


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_mount(registry, content):
    """A mounted blob is the image's own: it stays when the source's is deleted."""
    digest = await push(registry, content)
    assert not await registry.blobs.mount(OTHER, digest, NOWHERE)
    assert await registry.blobs.mount(OTHER, digest, NAME)
    await registry.blobs.delete(NAME, digest)
    assert await content_of(registry, OTHER, digest) == content


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_delete(registry, content):
    """A deleted blob is gone at once and once; pushed again it is there again, and stayed elsewhere all the time."""
    digest = await push(registry, content)
    await push(registry, content, OTHER)
    await registry.blobs.delete(NAME, digest)
    for attempt in (registry.blobs.find(NAME, digest), registry.blobs.delete(NAME, digest)):
        with pytest.raises(BlobUnknown):
            await attempt
    assert await content_of(registry, OTHER, digest) == content
    await push(registry, content)
    assert await content_of(registry, NAME, digest) == content


async def test_delete_where_it_cannot_be(registry):
    """There is nothing to delete in a repo that does not exist; in one that lets nothing be deleted it stays."""
    digest = await push(registry, SMALL)
    with pytest.raises(NameUnknown):
        await registry.blobs.delete(NOWHERE, digest)
    await registry.repos.change(NAME.repo, {"settings": {"allow_delete": False}})
    for known in (digest, digest_of(b"none")):
        with pytest.raises(Unsupported) as error:
            await registry.blobs.delete(NAME, known)
        assert error.value.status == 405
    assert await content_of(registry, NAME, digest) == SMALL
    await registry.repos.change(NAME.repo, {"settings": {"allow_delete": None}})
    await registry.blobs.delete(NAME, digest)


async def test_pushes_and_deletes_at_the_same_time(registry):
    """Whoever pushes while others delete has the blob, or had it until they deleted it: its bytes are never lost."""
    digest = digest_of(BIG)
    for _ in range(5):
        work = [w for _ in range(3) for w in (push(registry, BIG), registry.blobs.delete(NAME, digest))]
        told = await outcomes(*work)
        assert all(t in (digest, None) or isinstance(t, BlobUnknown) for t in told), told
    await push(registry, BIG)
    assert await content_of(registry, NAME, digest) == BIG
