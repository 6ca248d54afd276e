"""/api/v1/gc."""

from __future__ import annotations

from artifactapi.service import Artifactapi
from tests.client import Client
from tests.metadata.conftest import eventually
from tests.onlooker import Onlooker

NAME = "docker-internal/team/app"
BIG = bytes(200_000)


async def status(client: Client) -> dict:
    """What GET says."""
    return (await client.get("/api/v1/gc")).json


async def test_status(client: Client):
    """The backlog by kind, and the runs."""
    told = await status(client)
    assert told["backlog"] == {kind: {"count": 0, "seconds": 0.0} for kind in ("sessions", "links", "blobs", "objects")}
    assert told["runs"] == []


async def test_a_run(client: Client, onlooker: Onlooker):
    """A run takes what is due, and says so in the history and in the metrics."""
    digest = await client.push_blob(NAME, BIG)
    onlooker.rows("UPDATE image_blobs SET idle_since = now() - interval '2 days'")
    assert (await status(client))["backlog"]["links"]["count"] == 1
    onlooker.rows("DELETE FROM gc_runs")
    answer = await client.request("POST", "/api/v1/gc")
    assert (answer.status, answer.headers["Location"]) == (202, "/api/v1/gc")
    await eventually(lambda: onlooker.value("SELECT count(*) FROM gc_runs WHERE ended_at IS NOT NULL"))
    [run] = (await status(client))["runs"]
    assert run["id"] == answer.json["id"]
    assert run["counts"]["links"] == 1
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).status == 404
    metrics = (await client.get("/metrics")).body.decode()
    assert 'artifactapi_gc_reclaimed_total{kind="links"} 1.0' in metrics
    assert 'artifactapi_gc_backlog{kind="blobs"} 0.0' in metrics
    assert 'artifactapi_gc_run_seconds_count{outcome="ok"}' in metrics


async def test_the_graces(client: Client, onlooker: Onlooker):
    """They are the options': a day for blobs no manifest names, an hour for those no image has."""
    unnamed, unlinked = await client.push_blob(NAME, BIG), await client.push_blob(NAME, BIG[1:])
    assert (await client.request("DELETE", f"/v2/{NAME}/blobs/{unlinked}")).status == 202
    for table in ("blobs", "image_blobs"):
        onlooker.rows(f"UPDATE {table} SET idle_since = now() - interval '2 hours'")
    onlooker.rows("DELETE FROM gc_runs")
    await client.request("POST", "/api/v1/gc")
    await eventually(lambda: onlooker.value("SELECT count(*) FROM gc_runs WHERE ended_at IS NOT NULL"))
    assert (await client.get(f"/v2/{NAME}/blobs/{unnamed}")).status == 200
    assert onlooker.rows("SELECT digest FROM blobs") == [(unnamed,)]


async def test_a_run_while_another_runs(client: Client, onlooker: Onlooker):
    """It is refused."""
    onlooker.rows("INSERT INTO gc_runs DEFAULT VALUES")
    answer = await client.request("POST", "/api/v1/gc")
    assert (answer.status, answer.code) == (409, "GC_RUNNING")


async def test_a_dry_run(client: Client, onlooker: Onlooker):
    """What would go is shown with its reason, and stays."""
    digest = await client.push_blob(NAME, BIG)
    onlooker.rows("UPDATE image_blobs SET idle_since = now() - interval '2 days'")
    answer = await client.request("POST", "/api/v1/gc?dry_run=true")
    [due] = answer.json["due"]
    assert (due["kind"], due["name"]) == ("link", f"{NAME} {digest}")
    assert due["why"].startswith("no manifest uses it since ")
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).status == 200


async def test_a_parameter_that_is_none(client: Client):
    """It is said which."""
    answer = await client.request("POST", "/api/v1/gc?dry_run=maybe")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_head_is_a_promise(client: Client, onlooker: Onlooker):
    """HEAD renews the lease of a blob; GET does not."""
    digest = await client.push_blob(NAME, BIG)
    fresh = "SELECT idle_since > now() - interval '1 hour' FROM image_blobs"
    for method, renewed in (("GET", False), ("HEAD", True)):
        onlooker.rows("UPDATE image_blobs SET idle_since = now() - interval '10 hours'")
        assert (await client.request(method, f"/v2/{NAME}/blobs/{digest}")).status == 200
        assert onlooker.value(fresh) is renewed


async def test_a_process_that_does_not_collect(config, onlooker: Onlooker):
    """With an interval of 0 it never begins a run by itself."""
    assert config.gc_interval == 0
    running = Artifactapi(config)
    await running.start()
    await running.stopService()
    assert onlooker.value("SELECT count(*) FROM gc_runs") == 0
