"""What a remote repo keeps no longer: what nobody pulls, and what is too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from artifactapi.gc.collector import Collector, Graces
from artifactapi.metadata.database import Database
from artifactapi.objects.interface import IObjectStore
from artifactapi.service import Artifactapi
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.remote.shelf import APP, Shelf, image
from tests.upstream.scripted import answer_json

DAY = 86_400
LAYERS = [Random(number).randbytes(100_000) for number in range(4)]


@pytest.fixture
def collect(service: Artifactapi, database: Database, store: IObjectStore) -> Callable[[], Awaitable[None]]:
    """Runs the collector, after what was pulled is written down."""
    collector = Collector(database, store, Graces(DAY, DAY), service.metrics)

    async def run() -> None:
        await service.registry.blobs._elsewhere.uses.write()  # type: ignore[union-attr]
        while (started := await collector.start()) is None:  # the daemon begins with a run of its own
            await deferLater(reactor, 0.01)
        await collector.collect(started)

    return run


async def pulled(client: Client, *layers: bytes) -> list[int]:
    """Pull them; the statuses."""
    return [(await client.get(f"/v2/hub/{APP}/blobs/{digest_of(layer)}")).status for layer in layers]


def kept(rows) -> list[str]:
    """Digests of blobs that are still linked."""
    return [digest for (digest,) in rows("SELECT b.digest FROM image_blobs l JOIN blobs b ON b.id = l.blob_id")]


async def test_old(client: Client, collect, remote, shelf: Shelf, rows, later):
    """After `cache_days` without a pull, blobs and manifests go, with their tags; they are fetched again if wanted."""
    for layer in LAYERS[:2]:
        shelf.blob(layer)
    shelf.manifest(image(1), "v1")
    shelf.manifest(image(2), "v2")
    await remote(cache_days=10, tag_ttl=100 * DAY)
    await pulled(client, *LAYERS[:2])
    for tag in ("v1", "v2"):
        await client.get(f"/v2/hub/{APP}/manifests/{tag}")
    later(6 * DAY)
    await pulled(client, LAYERS[0])
    await client.get(f"/v2/hub/{APP}/manifests/v1")
    await collect()
    later(6 * DAY)
    await collect()
    assert kept(rows) == [digest_of(LAYERS[0])]
    assert rows("SELECT name FROM tags") == [("v1",)]
    assert rows("SELECT digest FROM manifests") == [(digest_of(image(1)),)]
    assert await pulled(client, *LAYERS[:2]) == [200, 200]


async def test_too_much(client: Client, collect, remote, shelf: Shelf, rows, later):
    """Beyond `cache_bytes` those blobs go that were pulled longest ago; other repos do not count."""
    for layer in LAYERS:
        shelf.blob(layer)
    await remote(cache_bytes=250_000)
    await remote("unbounded")
    for layer in LAYERS:
        await pulled(client, layer)
        later(2 * 3600)
    await pulled(client, LAYERS[0])
    await client.get(f"/v2/unbounded/{APP}/blobs/{digest_of(LAYERS[1])}")
    await collect()
    assert sorted(kept(rows)) == sorted(digest_of(LAYERS[number]) for number in (0, 3, 1))


async def test_no_write_for_a_pull(client: Client, remote, shelf: Shelf, rows):
    """A hit writes nothing."""
    shelf.blob(LAYERS[0])
    shelf.manifest(image())
    await remote()
    await pulled(client, LAYERS[0])
    await client.get(f"/v2/hub/{APP}/manifests/v1")
    state = "SELECT (SELECT array_agg(xmin::text) FROM manifests), (SELECT array_agg(xmin::text) FROM image_blobs),"
    state += " (SELECT array_agg(xmin::text) FROM tags), (SELECT array_agg(xmin::text) FROM blobs)"
    before = rows(state)
    for _ in range(3):
        assert await pulled(client, LAYERS[0]) == [200]
        assert (await client.get(f"/v2/hub/{APP}/manifests/v1")).status == 200
    assert rows(state) == before


async def test_old_lists(client: Client, collect, remote, shelf: Shelf, rows, later):
    """What an upstream has said refers to a manifest goes when nobody asks for it any more."""
    subject = digest_of(image(1))
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(image(2)), "size": 5}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    shelf.scripted.on("referrers", answer_json(200, index))
    await remote(cache_days=10)
    for days, left in ((0, 1), (9, 1), (2, 0)):
        if not days:
            assert (await client.get(f"/v2/hub/{APP}/referrers/{subject}")).json["manifests"] == [entry]
        later(days * DAY)
        await collect()
        assert rows("SELECT count(*) FROM remote_referrers") == [(left,)]


async def test_sessions_of_fetches(client: Client, collect, remote, rows):
    """However long ago the last bytes came: the session of a blob that is being fetched stays as long as its lease."""
    await remote()
    rows(
        "WITH begun AS (INSERT INTO upload_sessions (id, repo_id, image, algorithm, object_key, updated_at)"
        " SELECT gen_random_uuid(), id, 'a', 'sha256', 'key' || n, now() - interval '3 days'"
        " FROM repos, generate_series(-1, 1, 2) n WHERE name = 'hub' RETURNING *)"
        " INSERT INTO fills SELECT repo_id, image, object_key, id, now()"
        " + CASE object_key WHEN 'key1' THEN interval '1 minute' ELSE interval '-1 minute' END FROM begun RETURNING 1"
    )
    await collect()
    assert rows("SELECT object_key FROM upload_sessions") == [("key1",)]


async def test_leases_nobody_has(client: Client, collect, remote, rows):
    """Rows of blobs whose fetching nobody goes on with go with their sessions."""
    await remote()
    rows(
        f"INSERT INTO fills SELECT id, '{APP}', 'sha256:' || n, gen_random_uuid(), now() + n * interval '1 day'"
        " FROM repos, generate_series(-1, 1, 2) n WHERE name = 'hub' RETURNING 1"
    )
    await collect()
    assert rows("SELECT digest FROM fills") == [("sha256:1",)]
