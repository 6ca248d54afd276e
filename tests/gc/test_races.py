"""The collector and others at the same rows at the same time."""

from __future__ import annotations

import itertools
from collections import Counter

from artifactapi.gc.collector import Collector, Graces
from artifactapi.metadata import blobs as blob_rows
from artifactapi.metadata import garbage, manifests, retention, runs, tags
from artifactapi.metrics import Metrics
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import ManifestBlobUnknown, Unavailable
from artifactapi.oci.manifest import parse_manifest
from artifactapi.oci.names import Tag
from tests.gc.conftest import GRACES, HOUR
from tests.gc.images import has_blob, has_manifest, index, manifest, push_image, put
from tests.gc.test_sweeps import UNUSED
from tests.metadata.conftest import eventually, in_time
from tests.metadata.stories import Held
from tests.registry.bodies import BIG, NAME, OTHER, Pieces, content_of, outcomes, push
from tests.registry.steps import Died, SteppedDatabase, SteppedStore, Steps, named


def sweep_links(database):
    """The sweep of links, held open before its commit."""
    return Held(database, lambda t: garbage.links(t, 0, 100))


def sweep_blobs(database):
    """The sweep of blobs, held open before its commit."""
    return Held(database, lambda t: garbage.blobs(t, 0, 100))


async def test_a_manifest_while_its_blobs_go(registry, database, onlooker):
    """A manifest that names a blob which goes at this moment waits, and is then told that the blob is unknown."""
    await push(registry, b"config")
    sweep = sweep_links(database)
    assert (await sweep.worked).gone == 1
    putting = in_time(outcomes(put(registry, manifest(b"config"), "v1")))
    await eventually(onlooker.waiting)
    await sweep.commit()
    [outcome] = await putting
    assert isinstance(outcome, ManifestBlobUnknown)


async def test_an_index_while_its_child_goes(registry, database, onlooker):
    """So it is with an index that names a manifest which the retention takes at this moment."""
    await push_image(registry, b"config", tag=None)
    repo = onlooker.value("SELECT id FROM repos WHERE name = 'docker-internal'")
    sweep = Held(database, lambda t: retention.manifests(t, repo, 0, 100))
    assert (await sweep.worked).gone == 1
    putting = in_time(outcomes(put(registry, index(manifest(b"config")), "multi")))
    await eventually(onlooker.waiting)
    await sweep.commit()
    [outcome] = await putting
    assert isinstance(outcome, ManifestBlobUnknown)


async def test_blobs_while_their_manifest_comes(registry, database):
    """A sweep passes over the blobs of a manifest that is being put, and keeps them when it is there."""
    digest = await push(registry, b"config")
    content = manifest(b"config")

    async def putting(transaction):
        image = await manifests.image_id(transaction, NAME)
        assert await blob_rows.lock_linked(transaction, image, [str(digest)]) == {str(digest)}
        await manifests.put(transaction, image, digest_of(content), parse_manifest(content, None), content)

    held = Held(database, putting)
    await held.worked
    assert await database.transaction(lambda t: garbage.links(t, 0, 100)) == garbage.Batch(0, 0)
    await held.commit()
    assert await database.transaction(lambda t: garbage.links(t, 0, 100)) == garbage.Batch(1, 0)
    assert await has_blob(registry, digest)


async def test_a_manifest_while_it_is_tagged(registry, database, onlooker):
    """A sweep of manifests passes over one that is being pushed again with a tag, and keeps it when it is there."""
    await push_image(registry, b"config", tag=None)
    repo = onlooker.value("SELECT id FROM repos WHERE name = 'docker-internal'")
    content = manifest(b"config")

    async def putting(transaction):
        image = await manifests.image_id(transaction, NAME)
        await manifests.put(transaction, image, digest_of(content), parse_manifest(content, None), content)
        await tags.put(transaction, image, ["v1"], digest_of(content))

    held = Held(database, putting)
    await held.worked
    assert await database.transaction(lambda t: retention.manifests(t, repo, 0, 100)) == garbage.Batch(0, 0)
    await held.commit()
    assert await database.transaction(lambda t: retention.manifests(t, repo, 0, 100)) == garbage.Batch(1, 0)


async def test_a_tag_that_moves_while_it_is_old(registry, database, onlooker):
    """A tag that is not among the newest, and moves at this moment, is the newest: it stays."""
    for tag in ("v1", "v2"):
        await push_image(registry, b"config", tag=tag)
    repo = onlooker.value("SELECT id FROM repos WHERE name = 'docker-internal'")

    async def moving(transaction):
        await tags.put(transaction, await manifests.image_id(transaction, NAME), ["v1"], digest_of(manifest(b"config")))

    held = Held(database, moving)
    await held.worked
    sweeping = in_time(retention.tags(database, repo, ".*", 1, [], 100))
    await eventually(onlooker.waiting)
    await held.commit()
    assert await sweeping == garbage.Batch(0, 0)


async def test_a_manifest_deleted_while_its_blobs_are_looked_at(registry, database, onlooker):
    """A blob found in use, whose manifest goes before the sweep has said so, is looked at again later."""
    first, [config] = await push_image(registry, b"config")
    sweep = sweep_links(database)
    assert (await sweep.worked) == garbage.Batch(1, 0)
    deleting = in_time(registry.manifests.delete(NAME, first))
    await eventually(onlooker.waiting)
    await sweep.commit()
    await deleting
    assert onlooker.value("SELECT idle_since IS NOT NULL FROM image_blobs")
    assert await database.transaction(lambda t: garbage.links(t, 0, 100)) == garbage.Batch(1, 1)
    assert not await has_blob(registry, config)


async def test_a_push_while_its_digest_goes(registry, database, onlooker):
    """A blob that goes while the same digest is pushed again: the push waits, and brings its own bytes."""
    digest = await push(registry, BIG)
    old = (await registry.blobs.find(NAME, digest)).key
    await registry.blobs.delete(NAME, digest)
    sweep = sweep_blobs(database)
    assert (await sweep.worked).gone == 1
    pushing = in_time(push(registry, BIG, OTHER))
    await eventually(onlooker.waiting)
    await sweep.commit()
    await pushing
    assert (await registry.blobs.find(OTHER, digest)).key != old
    assert await content_of(registry, OTHER, digest) == BIG


async def test_a_mount_while_its_blob_goes(registry, database, onlooker):
    """A mount of a blob whose last link goes at this moment finds nothing to mount, or keeps it."""
    digest = await push(registry, BIG)
    links = sweep_links(database)
    await links.worked
    mounting = in_time(registry.blobs.mount(OTHER, digest, NAME))
    await eventually(onlooker.waiting)
    await links.commit()
    mounted = await mounting
    await database.transaction(lambda t: garbage.blobs(t, 0, 100))
    assert await has_blob(registry, digest, OTHER) is mounted


async def test_a_mount_before_its_blob_goes(registry, database):
    """A sweep of blobs passes over one that is being mounted."""
    digest = await push(registry, BIG)
    held = Held(database, lambda t: blob_rows.mount(t, OTHER, digest, NAME))
    assert await held.worked
    assert await database.transaction(lambda t: garbage.blobs(t, 0, 100)) == garbage.Batch(0, 0)
    await held.commit()
    assert await content_of(registry, OTHER, digest) == BIG


async def test_between_head_and_manifest(registry, collect, wait):
    """A sweep between HEAD and the manifest takes nothing, however long the blob was not used before."""
    digest = await push(registry, b"config")
    await wait(UNUSED - 1)
    await registry.blobs.promise(NAME, digest)
    await wait(HOUR)
    assert await collect() == {}
    await put(registry, manifest(b"config"), "v1")


async def test_between_mount_and_manifest(registry, collect, wait):
    """So it is with a mount."""
    digest = await push(registry, b"config")
    await wait(UNUSED - 1)
    assert await registry.blobs.mount(OTHER, digest, None)
    await wait(HOUR)
    await collect()
    await put(registry, manifest(b"config"), "v1", OTHER)


async def test_between_the_outbox_and_a_push(registry, collector, database, store, wait):
    """A digest that is pushed again while its old object waits in the outbox keeps its new object."""
    digest = await push(registry, BIG)
    await registry.blobs.delete(NAME, digest)
    await wait(2 * HOUR)
    await database.transaction(lambda t: garbage.blobs(t, 0, 100))
    await push(registry, BIG)
    await collector.run()
    assert await content_of(registry, NAME, digest) == BIG


async def test_a_link_that_goes_while_its_blob_is_looked_at(registry, database, onlooker):
    """A blob found in use, whose last link goes before the sweep has said so, is looked at again later."""
    digest = await push(registry, BIG)
    sweep = sweep_blobs(database)
    assert (await sweep.worked) == garbage.Batch(1, 0)
    deleting = in_time(registry.blobs.delete(NAME, digest))
    await eventually(onlooker.waiting)
    await sweep.commit()
    await deleting
    assert (await database.transaction(lambda t: garbage.blobs(t, 0, 100))).gone == 1


async def test_a_tag_that_goes_while_its_manifest_is_looked_at(registry, database, onlooker):
    """So it is with a manifest and its last tag."""
    digest, _ = await push_image(registry, b"config")
    repo = onlooker.value("SELECT id FROM repos WHERE name = 'docker-internal'")
    sweep = Held(database, lambda t: retention.manifests(t, repo, 0, 100))
    assert (await sweep.worked) == garbage.Batch(1, 0)
    deleting = in_time(registry.manifests.delete(NAME, Tag("v1")))
    await eventually(onlooker.waiting)
    await sweep.commit()
    await deleting
    assert (await database.transaction(lambda t: retention.manifests(t, repo, 0, 100))).gone == 1
    assert not await has_manifest(registry, digest)


# Runs


async def test_one_at_a_time(collector, database, store):
    """While a run is under way no other begins, on whatever replica."""
    run = await collector.start()
    neighbour = Collector(database, store, Graces(1, 1), Metrics())
    assert await neighbour.start() is None
    await neighbour.run()
    await collector.collect(run)
    assert await neighbour.start() is not None


async def test_of_many_one_begins(database, store):
    """Of several replicas that begin at once one does."""
    began = await outcomes(*(Collector(database, store, Graces(1, 1), Metrics()).start() for _ in range(8)))
    assert sum(run is not None for run in began) == 1


async def test_a_run_that_died(registry, collector, database, store, wait):
    """A run that is not heard of for a minute is taken for dead; if it was only slow, it ends when it finds out."""
    dead = await collector.start()
    await wait(61)
    alive = await Collector(database, store, Graces(0, 0), Metrics()).start()
    assert alive is not None
    await push(registry, BIG)
    await collector.collect(dead)
    history = {run.id: run for run in await collector.history(10)}
    assert history[dead].ended_at is None
    assert history[alive].ended_at is None


async def test_a_run_that_is_killed(registry, database, store, wait):
    """A run that dies after any of its calls is made good by the next."""
    for number in itertools.count(2, 2):  # each call is a step before and one after
        await prepare_all_kinds(registry, wait)
        steps = nth_step(number)
        with named(f"step {number}"):
            try:
                counts = await run_over(SteppedDatabase(database, steps), SteppedStore(store, steps))
            except Died:
                await make_good(database, store, wait)
            else:
                break
    # It has died at every step, and there was work of each kind.
    assert number == len(steps.taken) + 2
    assert {kind: counts[kind] for kind in KINDS} == KINDS
    assert {"before delete", "before abort", "before done"} <= set(steps.taken)


KINDS = {"tags": 1, "manifests": 1, "sessions": 1, "links": 1, "blobs": 1, "objects": 2}


async def make_good(database, store, wait) -> None:
    """Runs after one that died: nothing is left."""
    await wait(61)
    await run_over(database, store)
    for _ in range(3):
        await wait(2 * UNUSED)
        await run_over(database, store)
    for table in ("blobs", "upload_sessions", "doomed_objects"):
        assert await database.query(f"SELECT 1 FROM {table}") == []


async def prepare_all_kinds(registry, wait) -> None:
    """Something for each sweep: what was in the outbox is due, a blob has lost its link, one its use, and so on."""
    await registry.repos.change("docker-internal", {"settings": {"retention": RETENTION}})
    await push_image(registry, b"config", tag=None)
    cancelled, _ = [await registry.uploads.start(NAME) for _ in range(2)]
    await registry.uploads.append(NAME, cancelled.id, Pieces(BIG), None)
    await registry.uploads.cancel(NAME, cancelled.id)
    await push(registry, BIG)
    await registry.blobs.delete(NAME, digest_of(BIG))
    await push(registry, BIG[::-1])
    await wait(2 * UNUSED)
    await push_image(registry, b"2", tag="v2")


RETENTION = {"untagged_days": 1, "tags": [{"pattern": "*", "keep": 0}]}


async def run_over(database, store) -> Counter[str]:
    """A run of the collector of a process that has these; what went."""
    collector = Collector(database, store, GRACES, Metrics())
    return await collector.collect(await collector.start())


def nth_step(number: int) -> Steps:
    """A process that is killed at its so-manyth step."""
    taken = 0

    def fate(step: str) -> None:
        nonlocal taken
        taken += 1
        if taken >= number:
            raise Died

    return Steps(fate)


async def test_a_sweep_that_fails(registry, collector, database, wait, monkeypatch):
    """The others have their turn, and the run says which failed."""
    await push(registry, BIG)
    await wait(UNUSED)

    async def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(garbage, "sessions", broken)
    run = await collector.start()
    assert (await collector.collect(run))["links"] == 1
    [latest] = await collector.history(1)
    assert latest.failures == {"sessions": "RuntimeError"}
    assert latest.ended_at is not None


async def test_a_run_that_is_told_to_stop(registry, collector, wait, monkeypatch):
    """It ends after its batch, and says so: another replica need not wait for it."""
    await push(registry, BIG)
    await wait(UNUSED)
    real = garbage.sessions

    async def stopping(*args):
        collector.stop()
        return await real(*args)

    monkeypatch.setattr(garbage, "sessions", stopping)
    assert (await collector.collect(await collector.start()))["links"] == 0
    [latest] = await collector.history(1)
    assert latest.ended_at is not None


async def test_a_database_that_is_away_at_the_end(registry, collector, wait, monkeypatch):
    """What was collected is collected; the run is taken for dead later, and nothing else comes of it."""
    await push(registry, BIG)
    await wait(UNUSED)
    real = runs.report

    async def away(db, run, counts, failures, ended):
        if ended:
            raise Unavailable("away")
        return await real(db, run, counts, failures, ended)

    monkeypatch.setattr(runs, "report", away)
    assert (await collector.collect(await collector.start()))["links"] == 1
    [latest] = await collector.history(1)
    assert latest.ended_at is None
    assert await collector.start() is None
    await wait(61)
    assert await collector.start() is not None


async def test_an_object_that_stays(registry, collect, store, wait, monkeypatch, directory):
    """What cannot be deleted is tried again later, and nothing else waits for it."""
    digests = [await push(registry, BIG + bytes([n])) for n in range(3)]
    stuck = (await registry.blobs.find(NAME, digests[1])).key
    for digest in digests:
        await registry.blobs.delete(NAME, digest)
    path, away = directory / "objects" / stuck, directory / "away"
    path.rename(away)
    path.mkdir()
    await wait(HOUR + 1)
    assert (await collect())["objects"] == 2
    path.rmdir()
    away.rename(path)
    assert await collect() == {}
    await wait(601)
    assert await collect() == {"objects": 1}


async def test_the_preview(registry, collector, wait):
    """A dry run says what would go and why, and takes nothing."""
    digest = await push(registry, BIG)
    session = await registry.uploads.start(NAME)
    used, _ = await push_image(registry, b"config")
    await wait(UNUSED)
    due = await collector.preview(100)
    assert [(one.kind, one.name) for one in due] == [
        ("session", f"{NAME} {session.id}"),
        ("link", f"{NAME} {digest}"),
    ]
    assert {kind: backlog.count for kind, backlog in (await collector.backlog()).items()} == {
        "sessions": 1,
        "links": 2,
        "blobs": 2,
        "objects": 0,
    }
    assert await has_blob(registry, digest)
    assert await has_manifest(registry, used)
