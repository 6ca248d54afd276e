"""Blobs on their way from an upstream, while a replica is paused, repos are changed, and the whole is checked."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event

import pytest

from tests.client import digest_of
from tests.daemon import eventually
from tests.fleet.fleet import CHECKED
from tests.fleet.pushes import PART
from tests.fleet.test_fills import LAYER, MIB, Gate, hub, is_right, persistent, requests
from tests.remote.pulls import pull
from tests.remote.shelf import APP, Shelf, image
from tests.upstream.scripted import Exchange, Scripted, head, partly

STAGED = "SELECT 1 FROM upload_sessions WHERE store_state IS NOT NULL"


def check_all_over(spawn) -> None:
    """Nothing is left of the fetching; what the collector takes then, nobody misses."""
    fleet = spawn.fleet
    eventually(lambda: fleet.query("SELECT 1 FROM fills") + fleet.query("SELECT 1 FROM upload_sessions") == [])
    assert spawn.tool.events("fsck") == CHECKED
    fleet.collect(spawn.tool)
    assert spawn.tool.events("fsck") == CHECKED
    assert fleet.rows().outbox == set()
    if spawn.on_s3:
        fleet.check_clean()


class Rest:
    """A reply to a Range: some of it, and the rest when the gate is open."""

    def __init__(self) -> None:
        self.open = Event()
        self.sent = Event()

    def __call__(self, exchange: Exchange) -> None:
        """The rest of the blob."""
        start = int(exchange.seen.headers.get("range", "bytes=0-")[6:-1])
        size = len(LAYER)
        there = {"content_range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        exchange.send(head(206 if start else 200, content_length=size - start, **there) + LAYER[start : start + MIB])
        self.sent.set()
        assert self.open.wait(60)
        exchange.send(LAYER[start + MIB :])


def has_half(spawn, tmp_path: Path) -> bool:
    """Whether a replica has stored what the gate lets through."""
    if spawn.on_s3:
        return spawn.fleet.query('SELECT "offset" FROM upload_sessions') == [(PART,)]
    staged = (path for path in (tmp_path / "data" / "staging").rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in staged) == len(LAYER) // 2


@pytest.mark.parametrize("back", ["meanwhile", "afterwards"])
def test_the_filling_replica_is_paused(spawn, scripted: Scripted, tmp_path: Path, back: str):
    """A replica that is paused for so long that another one goes on does no harm when it is back."""
    gate, rest = Gate(), Rest()
    scripted.on("GET .*/blobs/", gate, rest, partly(LAYER))
    pausing, living = spawn(), spawn()
    clients = [pausing.client(), living.client()]
    path = hub(clients[0], scripted)
    with ThreadPoolExecutor(8) as pool:
        leading = pool.submit(pull, clients[0], path)
        assert gate.sent.wait(60)
        waiting = pool.submit(pull, clients[1], path)
        eventually(lambda: has_half(spawn, tmp_path))
        assert clients[0].send("GET", "/healthz").status == 200  # nor has it the file locked, when it stops
        os.kill(pausing.process.pid, signal.SIGSTOP)
        spawn.fleet.query("UPDATE fills SET lease_until = now()")
        assert rest.sent.wait(60)
        if back == "afterwards":
            rest.open.set()
            assert is_right(waiting.result())
        gate.open.set()
        os.kill(pausing.process.pid, signal.SIGCONT)
        is_right(leading.result())
        rest.open.set()
        assert is_right(waiting.result())
        assert all(persistent(client, path) for client in clients)
    assert len(requests(scripted)) == 2
    check_all_over(spawn)


@pytest.mark.parametrize("anew", [False, True], ids=["for good", "and made anew"])
def test_the_repo_is_deleted(spawn, scripted: Scripted, anew: bool):
    """A repo that is deleted while replicas fetch leaves nothing behind; a new one of its name has its own blobs."""
    gate = Gate()
    scripted.on("GET .*/blobs/", gate, partly(LAYER))
    clients = [spawn().client(), spawn().client()]
    path = hub(clients[0], scripted)
    with ThreadPoolExecutor(8) as pool:
        leading = pool.submit(pull, clients[0], path)
        assert gate.sent.wait(60)
        eventually(lambda: spawn.fleet.query(STAGED))
        waiting = pool.submit(pull, clients[1], path)
        assert clients[1].send("DELETE", "/api/v1/repos/hub?force=true").status == 204
        if anew:
            hub(clients[1], scripted)
            assert is_right(pull(clients[1], path))
        else:
            assert b"NAME_UNKNOWN" in waiting.result().body
        gate.open.set()
        is_right(leading.result())
        if anew:
            assert all(is_right(pull(client, path)) for client in clients)
    check_all_over(spawn)
    if not anew:
        assert spawn.fleet.query("SELECT 1 FROM blobs") == []


LAYERS = [Random(number).randbytes(100_000) for number in range(4)]


def test_checks_and_collections_meanwhile(spawn, scripted: Scripted):
    """A blob on its way, and manifests whose blobs were evicted, are well to a check, and the collector takes none of
    them."""
    gate, shelf = Gate(), Shelf(scripted)
    scripted.on("GET .*/blobs/", gate)
    layers = [{"mediaType": "x/y", "digest": shelf.blob(layer), "size": len(layer)} for layer in LAYERS]
    shelf.manifest(image(layers=layers))
    client, fleet = spawn().client(), spawn.fleet
    path = hub(client, scripted, cache_bytes=150_000)
    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(pull, client, path)
        assert gate.sent.wait(60)
        eventually(lambda: fleet.query(STAGED))
        assert client.send("GET", f"/v2/hub/{APP}/manifests/v1").status == 200
        for layer in LAYERS:
            assert client.send("GET", f"/v2/hub/{APP}/blobs/{digest_of(layer)}").body == layer
        assert spawn.tool.events("fsck") == CHECKED
        assert fleet.collect(spawn.tool)["evicted"] == 3
        fleet.query("UPDATE blobs SET idle_since = idle_since - interval '2 hours'")
        assert fleet.collect(spawn.tool)["blobs"] == 3
        assert spawn.tool.events("fsck") == CHECKED
        gate.open.set()
        assert is_right(leading.result())
    assert client.send("GET", f"/v2/hub/{APP}/manifests/v1").status == 200
    for layer in LAYERS:
        assert client.send("GET", f"/v2/hub/{APP}/blobs/{digest_of(layer)}").body == layer
    check_all_over(spawn)
