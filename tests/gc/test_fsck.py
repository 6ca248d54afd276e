"""What a check of the whole finds, and what it does not."""

from __future__ import annotations

import pytest

from artifactapi.gc import outbox
from artifactapi.gc.fsck import Fsck
from artifactapi.oci.digest import digest_of
from artifactapi.registry.registry import Registry
from tests.gc.conftest import HOUR
from tests.gc.images import push_image
from tests.objects.contract import new_key, put, stage
from tests.registry.bodies import BIG, NAME, Pieces, content_of, push


@pytest.fixture(params=["filesystem", "s3"])
def any_store(request):
    """Each store."""
    return request.getfixturevalue("store" if request.param == "filesystem" else "s3_store")


@pytest.fixture
def check(database, threads):
    """Run a check over a store; (kind, name) of what it finds."""

    async def run(store, digests=True, repair=False):
        found, steps = [], []
        await Fsck(database, store, threads, found.append, steps.append).run(digests, repair)
        seen = list(dict.fromkeys(progress.step for progress in steps))
        assert seen == [step for step in STEPS if step in seen], "in this order"
        assert all(0 < progress.done <= (progress.total or progress.done) for progress in steps)
        return [(finding.kind, finding.name) for finding in found]

    return run


STEPS = ["blobs", "manifests", "objects"]


@pytest.fixture
def registry(database, threads, any_store):
    """The use cases over it."""
    return Registry.over(database, any_store, threads)


async def prepare(registry) -> None:
    """An image, an upload under way, and something in the outbox."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    await push_image(registry, b"config", BIG)
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(BIG), None)
    await push(registry, BIG)


async def test_a_registry_that_is_well(registry, any_store, check):
    """Nothing is found, uploads under way and the outbox included."""
    await prepare(registry)
    assert await check(any_store) == []


async def test_lost_and_orphaned(registry, any_store, check):
    """A blob without its object is lost; an object without a row is an orphan, committed or staged."""
    await prepare(registry)
    digest = await push(registry, BIG[::-1])
    await any_store.delete([(await registry.blobs.find(NAME, digest)).key])
    committed, staged = await put(any_store, b"nobody's"), new_key()
    await stage(any_store, staged, BIG)
    found = await check(any_store)
    assert found[0] == ("lost", f"blob {digest}")
    assert [kind for kind, _ in found[1:]] == ["orphan"] * 2
    assert {name.partition(".")[0] for _, name in found[1:]} == {committed.partition(".")[0], staged}


async def test_repair(registry, any_store, check, database, wait):
    """Orphans go to the outbox, and with it away; what has a row stays."""
    await prepare(registry)
    committed, staged = await put(any_store, b"nobody's"), new_key()
    await stage(any_store, staged, BIG)
    assert len(await check(any_store, repair=True)) == 2
    assert await check(any_store) == []
    await wait(HOUR)
    await outbox.sweep(database, any_store)
    assert await any_store.size(committed) is None
    assert await check(any_store) == []
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


async def test_repair_keeps_the_blob(registry, any_store, check, database, wait):
    """What is staged beside a blob's own object goes without it."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    digest = await push(registry, BIG)
    key = (await registry.blobs.find(NAME, digest)).key
    base = key.partition(".")[0]
    if base != key:  # the filesystem has nothing beside an object
        await any_store._bucket.put(f"{base}.9-9", [b"left"])
        assert await check(any_store, repair=True) == [("orphan", f"{base}.9-9")]
    await wait(HOUR)
    await outbox.sweep(database, any_store)
    assert await check(any_store) == []
    assert await content_of(registry, NAME, digest) == BIG


async def test_damaged(registry, any_store, check, database):
    """Bytes that are not the row's are found: their number always, their digest unless that is not asked for."""
    await prepare(registry)
    other = digest_of(b"other")
    await database.query("UPDATE blobs SET digest = %s WHERE digest = %s", (str(other), str(digest_of(BIG))))
    assert await check(any_store, digests=False) == []
    assert await check(any_store) == [("damaged", f"blob {other}")]
    await database.query("UPDATE blobs SET size = size + 1 WHERE digest = %s", (str(other),))
    assert await check(any_store, digests=False) == [("damaged", f"blob {other}")]


async def test_damaged_rows(registry, any_store, check, database):
    """Content in rows is checked as well: small blobs and manifests."""
    await prepare(registry)
    await database.query("UPDATE blobs SET content = 'cONFIG' WHERE content = 'config'")
    await database.query("UPDATE manifests SET content = content || ' '")
    kinds = [(kind, name.split()[0]) for kind, name in await check(any_store)]
    assert kinds == [("damaged", "blob"), ("damaged", "manifest")]
