"""Blobs of an upstream in a fleet: fetched once, whoever dies."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from random import Random
from threading import Event

from tests.client import Client
from tests.daemon import eventually
from tests.remote.pulls import Pull, pull
from tests.upstream.scripted import Exchange, Scripted, answer, cut, head, partly

MIB = 1024 * 1024
LAYER = Random(5).randbytes(24 * MIB)
DIGEST = f"sha256:{sha256(LAYER).hexdigest()}"


class Gate:
    """A reply that sends the rest of a blob only as far as the test allows."""

    def __init__(self) -> None:
        self.open = Event()
        self.sent = Event()

    def __call__(self, exchange: Exchange) -> None:
        """The first half, and the rest when the gate is open; a Range at once."""
        if "range" in exchange.seen.headers:
            partly(LAYER)(exchange)
            return
        half = len(LAYER) // 2
        exchange.send(head(200, content_length=len(LAYER)) + LAYER[:half])
        self.sent.set()
        assert self.open.wait(60)
        exchange.send(LAYER[half:])


def hub(client: Client, scripted: Scripted, **more: object) -> str:
    """A remote repo, with more settings; the path of its blob."""
    settings = {"upstream": scripted.url, "backoff": 1, **more}
    fields = {"name": "hub", "package_type": "docker", "repo_type": "remote", "settings": settings}
    assert client.send("POST", "/api/v1/repos", json.dumps(fields).encode()).status == 201
    return f"/v2/hub/team/app/blobs/{DIGEST}"


def is_right(found: Pull, content: bytes = LAYER) -> bool:
    """Whether it is the blob; what comes of it is never anything else."""
    if found.status != 200:
        return False
    assert content.startswith(found.body)
    return found.whole


def persistent(client: Client, path: str, content: bytes = LAYER) -> bool:
    """A pull that is tried again, as clients do."""

    def succeeds() -> bool:
        with suppress(OSError):
            return is_right(pull(client, path), content)
        return False

    eventually(succeeds)
    return True


def requests(scripted: Scripted) -> list[str | None]:
    """The Range of each request for the blob."""
    return [seen.headers.get("range") for seen in scripted.seen if seen.target.endswith(DIGEST)]


def test_one_request(spawn, scripted: Scripted):
    """Fifty cold pulls over two replicas at the same time are one request to the upstream, and all are right."""
    scripted.on("GET .*/blobs/", partly(LAYER))
    clients = [spawn().client(), spawn().client()]
    path = hub(clients[0], scripted)
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda number: pull(clients[number % 2], path), range(50)))
    assert all(map(is_right, found))
    assert requests(scripted) == [None]
    eventually(lambda: spawn.fleet.query("SELECT count(*) FROM fills") == [(0,)])
    assert spawn.fleet.query("SELECT count(*) FROM upload_sessions") == [(0,)]


def test_the_filling_replica_is_killed(spawn, scripted: Scripted):
    """When it dies in the middle of a blob, another one goes on with what it has kept; nothing wrong is served."""
    gate = Gate()
    scripted.on("GET .*/blobs/", gate)
    dying, living = spawn(), spawn()
    path = hub(dying.client(), scripted)
    with ThreadPoolExecutor(8) as pool:
        leading = pool.submit(pull, dying.client(), path)
        assert gate.sent.wait(60)
        waiting = [pool.submit(pull, living.client(), path) for _ in range(4)]
        eventually(lambda: spawn.fleet.query('SELECT "offset" > 0 OR store_state IS NOT NULL FROM upload_sessions'))
        dying.kill()
        gate.open.set()
        assert not is_right(leading.result())
        assert all(is_right(one.result()) for one in waiting)
    assert len(requests(scripted)) == 2
    eventually(lambda: spawn.fleet.query("SELECT count(*) FROM fills") == [(0,)])


def test_the_filling_replica_is_stopped(spawn, scripted: Scripted):
    """When it is stopped, others go on at once, and it ends within its grace."""
    gate = Gate()
    scripted.on("GET .*/blobs/", gate)
    stopping, living = spawn(), spawn()
    path = hub(stopping.client(), scripted)
    with ThreadPoolExecutor(8) as pool:
        leading = pool.submit(pull, stopping.client(), path)
        assert gate.sent.wait(60)
        waiting = pool.submit(pull, living.client(), path)
        assert stopping.stop() == 0
        gate.open.set()
        assert is_right(waiting.result())
        assert not is_right(leading.result())
    assert "Traceback" not in stopping.text()
    assert len(requests(scripted)) == 2


def test_postgres_is_killed_meanwhile(spawn, scripted: Scripted):
    """The database's connections may break while a blob comes: who asks again gets it, and it is not fetched anew."""
    gate = Gate()
    scripted.on("GET .*/blobs/", gate)
    clients = [spawn().client(), spawn().client()]
    path = hub(clients[0], scripted)
    with ThreadPoolExecutor(8) as pool:
        leading = pool.submit(pull, clients[0], path)
        assert gate.sent.wait(60)
        waiting = [pool.submit(persistent, client, path) for client in clients]
        for _ in range(3):
            spawn.fleet.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        gate.open.set()
        assert is_right(leading.result())
        assert all(one.result() for one in waiting)
    assert requests(scripted) == [None]


def test_the_upstream_dies_and_comes_back(spawn, scripted: Scripted):
    """An upstream that breaks off, is down, and comes back is gone on with: clients that try again get all of it."""
    scripted.on("GET .*/blobs/", cut(LAYER, 10 * MIB), *[answer(503)] * 7, partly(LAYER))
    clients = [spawn().client(), spawn().client()]
    path = hub(clients[0], scripted)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda number: persistent(clients[number % 2], path), range(4)))
    assert requests(scripted)[-1] is not None
