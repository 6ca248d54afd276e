"""A remote repo that is changed while a blob of it comes."""

from __future__ import annotations

from threading import Event

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.registry import arriving
from tests.client import Client
from tests.remote.pulls import pull
from tests.remote.shelf import APP, LAYER, Shelf
from tests.upstream.reading import until
from tests.upstream.scripted import Exchange, Scripted, answer, head, held, partly, raw

CONTENT = LAYER * 8


def first_half(go_on: Event):
    """Half of it; the connection breaks when the test says so."""
    broken = held(go_on, raw())

    def reply(exchange: Exchange) -> None:
        exchange.send(head(200, content_length=len(CONTENT)) + CONTENT[: len(CONTENT) // 2])
        broken(exchange)

    return reply


@pytest.fixture
def another():
    """An upstream of its own."""
    server = Scripted()
    yield server
    server.close()


async def test_another_upstream(client: Client, remote, shelf: Shelf, another: Scripted, rows, monkeypatch):
    """What the old upstream does not go on with, the new one does, from where it broke."""
    monkeypatch.setattr(arriving, "PAUSE", 0.02)
    go_on = Event()
    digest = shelf.blob(CONTENT, first_half(go_on), answer(503))
    another.on("GET .*/blobs/", partly(CONTENT))
    await remote()
    path = f"/v2/hub/{APP}/blobs/{digest}"
    leading = deferToThread(pull, client, path)
    await until(lambda: rows("SELECT 1 FROM upload_sessions WHERE store_state IS NOT NULL"))
    await remote(upstream=another.url)
    go_on.set()
    assert not (await leading).whole
    found = await deferToThread(pull, client, path)
    assert (found.status, found.body == CONTENT) == (200, True)
    [asked] = another.seen
    assert asked.headers["range"] == f"bytes={len(CONTENT) // 2}-"
    await until(lambda: rows("SELECT 1 FROM fills") + rows("SELECT 1 FROM upload_sessions") == [])
