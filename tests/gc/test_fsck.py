"""What a check of the whole finds, and what it does not."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from artifactapi.gc import outbox
from artifactapi.gc.fsck import Fsck
from artifactapi.metadata import garbage
from artifactapi.objects.interface import ObjectMissing
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import ManifestBlobUnknown
from artifactapi.registry.intake import INLINE
from artifactapi.registry.registry import Registry
from tests.gc.conftest import HOUR
from tests.gc.images import has_manifest, manifest, push_image
from tests.objects.contract import new_key, put, stage
from tests.registry import balance
from tests.registry.bodies import BIG, NAME, Pieces, content_of, outcomes, push


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


# Beside a registry that works


@pytest.fixture
def just_after(any_store, monkeypatch):
    """Let something happen once, right after the store has answered a call."""

    def arrange(method, work):
        call = getattr(any_store, method)

        async def answered(*args):
            answer = await call(*args)
            monkeypatch.setattr(any_store, method, call)
            await work()
            return answer

        monkeypatch.setattr(any_store, method, answered)

    return arrange


async def test_an_object_that_is_collected_meanwhile(registry, any_store, check, database, wait, just_after):
    """An object that was seen, and went with its row in the outbox before the rows were asked, is no orphan."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    await registry.blobs.delete(NAME, await push(registry, BIG))
    await wait(HOUR)
    await database.transaction(lambda t: garbage.blobs(t, 0, 100))
    just_after("keys", lambda: outbox.sweep(database, any_store))
    assert await check(any_store) == []
    assert await balance.doomed(database) == set()


async def test_an_upload_that_ends_meanwhile(registry, any_store, check, just_after):
    """What was staged for an upload, and is in its blob by the time the rows are asked, is no orphan."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    session = await registry.uploads.start(NAME)
    for content in (BIG, BIG[::-1]):
        await registry.uploads.append(NAME, session.id, Pieces(content), None)
    digest = digest_of(BIG + BIG[::-1])
    just_after("keys", lambda: registry.uploads.finish(NAME, session.id, digest, Pieces(), None))
    assert await check(any_store) == []
    assert await content_of(registry, NAME, digest) == BIG + BIG[::-1]


@pytest.mark.parametrize("step", ["size", "open"])
async def test_a_blob_that_is_collected_meanwhile(registry, any_store, check, database, step, monkeypatch):
    """A blob whose bytes go before its key has left the outbox is not lost."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    digest = await push(registry, BIG)
    key = (await registry.blobs.find(NAME, digest)).key
    call = getattr(any_store, step)

    async def asked(*args):
        await registry.blobs.delete(NAME, digest)
        await database.transaction(lambda t: garbage.blobs(t, 0, 100))
        await any_store.delete([key])
        monkeypatch.setattr(any_store, step, call)
        return await call(*args)

    monkeypatch.setattr(any_store, step, asked)
    assert await check(any_store) == []
    assert await balance.doomed(database) == {key}


async def test_bytes_that_go_while_they_are_read(registry, any_store, check, monkeypatch):
    """A blob whose object goes in the middle of a read, but not its row, is lost."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    digest = await push(registry, BIG)

    class Gone:
        async def read(self):
            raise ObjectMissing("gone")

        def close(self):
            pass

    async def opened(*_):
        return Gone()

    monkeypatch.setattr(any_store, "open", opened)
    assert await check(any_store) == [("lost", f"blob {digest}")]


class Life:
    """Pushes, deletions, uploads that nobody ends, and sweeps, one thing after the other, until it is stopped."""

    def __init__(self, registry, database, store, seed) -> None:
        self.registry, self.database, self.store, self.dice = registry, database, store, Random(seed)
        self.kept: dict[bytes, list[bytes]] = {}
        self.turns = 0
        self.stopped = False

    async def go_on(self) -> None:
        """Until it is stopped."""
        while not self.stopped:
            await self.dice.choice((self.push, self.push, self.delete, self.stage, self.sweep))()
            self.turns += 1

    async def push(self) -> None:
        layers = [self.dice.randbytes(9), self.dice.randbytes(INLINE + 1), BIG]
        with suppress(ManifestBlobUnknown):  # the sweeps here give no grace
            await push_image(self.registry, *layers, tag=None)
            self.kept[manifest(*layers)] = layers

    async def delete(self) -> None:
        if len(self.kept) > 3:
            content = self.dice.choice(list(self.kept))
            del self.kept[content]
            await self.registry.manifests.delete(NAME, digest_of(content))

    async def stage(self) -> None:
        session = await self.registry.uploads.start(NAME)
        for _ in range(3):
            await self.registry.uploads.append(NAME, session.id, Pieces(self.dice.randbytes(INLINE + 1)), None)
        if self.dice.random() < 0.5:
            await self.registry.uploads.cancel(NAME, session.id)

    async def sweep(self) -> None:
        await self.database.query("UPDATE doomed_objects SET after = now()")
        for work in (garbage.links, garbage.blobs):
            await self.database.transaction(lambda t, work=work: work(t, 0, 100))
        await outbox.sweep(self.database, self.store)


@pytest.fixture
def far_away(any_store, monkeypatch):
    """The store, whose answers arrive late."""

    def late(call):
        async def answered(*args):
            answer = await call(*args)
            await deferLater(reactor, 0.02)
            return answer

        return answered

    for method in ("keys", "size", "delete"):
        monkeypatch.setattr(any_store, method, late(getattr(any_store, method)))
    return any_store


async def test_beside_pushes_and_sweeps(registry, far_away, check, database):
    """Checks beside pushes, deletions and sweeps find nothing, and repair nothing that somebody needs."""
    await registry.repos.ensure("docker-internal", "docker", "local")
    lives = [Life(registry, database, far_away, seed) for seed in range(3)]
    running = Deferred.fromCoroutine(outcomes(*(life.go_on() for life in lives)))
    found = []
    while min(life.turns for life in lives) < 40:
        found += await check(far_away, repair=True)
    for life in lives:
        life.stopped = True
    assert await running == [None] * len(lives)
    assert found == []
    assert await check(far_away) == []
    for content, layers in [kept for life in lives for kept in life.kept.items()]:
        assert await has_manifest(registry, digest_of(content))
        for layer in layers:
            assert await content_of(registry, NAME, digest_of(layer)) == layer
