"""The sweep of the outbox."""

from __future__ import annotations

import pytest

from artifactapi.gc import outbox
from artifactapi.metadata.garbage import Batch
from artifactapi.oci.errors import Unavailable
from tests.objects.contract import holds, put, stage
from tests.registry import balance
from tests.registry.bodies import BIG, NAME, outcomes, push
from tests.registry.steps import SteppedStore, Steps


async def doom(database, keys: list[str], after: str = "now()", state: str | None = None) -> None:
    """Put these into the outbox."""
    await database.query(
        f"INSERT INTO doomed_objects (key, store_state, after) SELECT k, %s, {after} FROM unnest(%s::text[]) k",
        (state, keys),
    )


async def test_sweep(registry, database, store, directory):
    """Objects that are due go, committed, staged or long gone; what is not due, or not doomed, stays."""
    digest = await push(registry, BIG)
    blob = await registry.blobs.find(NAME, digest)
    due, later = [await put(store, b"due") for _ in range(3)], await put(store, b"later")
    await stage(store, "blobs/st/staged", b"bytes")
    await doom(database, [*due, "blobs/go/gone"])
    await doom(database, ["blobs/st/staged"], state="{}")
    await doom(database, [later], "now() + interval '1 hour'")
    assert await outbox.sweep(database, store) == Batch(5, 5)
    assert balance.objects(directory) == {later, blob.key}
    assert balance.staged(directory) == set()
    assert await balance.doomed(database) == {later}
    await holds(store, later, b"later")
    assert await outbox.sweep(database, store) == Batch(0, 0)


async def test_many(registry, database, store):
    """A batch goes at a time."""
    await doom(database, [f"blobs/xx/{n}" for n in range(outbox.AT_ONCE + 1)])
    assert await outbox.sweep(database, store) == Batch(outbox.AT_ONCE, outbox.AT_ONCE)
    assert await outbox.sweep(database, store) == Batch(1, 1)


async def test_two_at_once(registry, database, store, directory):
    """Two replicas that sweep at the same time do each other no harm."""
    await doom(database, [await put(store, b"bytes") for _ in range(20)])
    told = await outcomes(*(outbox.sweep(database, store) for _ in range(2)))
    assert sum(batch.gone for batch in told) >= 20
    assert balance.objects(directory) == set()


async def test_a_store_that_fails(registry, database, store):
    """What could not be deleted because the store does not answer stays in the outbox for the next sweep."""
    key = await put(store, b"bytes")
    await doom(database, [key])

    def fail(step: str) -> None:
        if step == "before delete":
            raise Unavailable("away")

    with pytest.raises(Unavailable):
        await outbox.sweep(database, SteppedStore(store, Steps(fail)))
    assert await balance.doomed(database) == {key}
    assert await outbox.sweep(database, store) == Batch(1, 1)


async def test_an_upload_that_stays(registry, database, store):
    """What was staged and cannot be deleted is tried again later; all else goes."""
    await doom(database, ["blobs/aa/stays", "blobs/bb/goes"], state="{}")

    class Failing(SteppedStore):
        async def abort(self, key, keep):
            if key.endswith("stays"):
                raise Unavailable("away")

    assert await outbox.sweep(database, Failing(store, Steps())) == Batch(2, 1)
    assert await balance.doomed(database) == {"blobs/aa/stays"}
    assert await outbox.sweep(database, store) == Batch(0, 0)
    await database.query("UPDATE doomed_objects SET after = now() WHERE after < now() + interval '11 minutes'")
    assert await outbox.sweep(database, store) == Batch(1, 1)


async def test_a_store_that_is_away(registry, database, store):
    """A store that aborts nothing is not asked once for each upload: what was not tried stays due."""
    await doom(database, [f"blobs/aa/{n}" for n in range(10)], state="{}")
    asked = []

    class Away(SteppedStore):
        async def abort(self, key, keep):
            asked.append(key)
            raise Unavailable("away")

    with pytest.raises(Unavailable):
        await outbox.sweep(database, Away(store, Steps()))
    assert len(asked) == 3
    assert await outbox.sweep(database, store) == Batch(7, 7)
    assert await balance.doomed(database) == set(asked)


async def test_few_uploads_at_a_time(registry, database, store):
    """Uploads take a while each: a batch has few of them, and all the objects."""
    await doom(database, [f"blobs/aa/{n}" for n in range(outbox.ABORTS + 1)], state="{}")
    await doom(database, [f"blobs/bb/{n}" for n in range(outbox.ABORTS + 1)])
    batch = 2 * outbox.ABORTS + 1
    assert await outbox.sweep(database, store) == Batch(batch, batch)
    assert await outbox.sweep(database, store) == Batch(1, 1)
