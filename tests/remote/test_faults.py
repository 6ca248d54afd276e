"""What goes wrong between an upstream's answer and the rows: it holds up nobody, and is not paid for twice."""

from __future__ import annotations

import shutil
from threading import Event

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.metadata import uploads
from artifactapi.oci.errors import Unavailable
from artifactapi.registry import arriving, fills
from tests.client import Client
from tests.remote.pulls import pull
from tests.remote.shelf import LAYER, Shelf
from tests.remote.test_blobs import BLOB, NOTHING, get, right
from tests.upstream.reading import until
from tests.upstream.scripted import Scripted, answer, cut, hanging, head, held, partly


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(arriving, "PAUSE", 0.02)
    monkeypatch.setattr(fills, "LOOK", 0.02)
    monkeypatch.setattr(fills, "HEARTBEAT", 0.02)


async def refuse(*_: object) -> None:
    """What a statement does while Postgres is away."""
    raise Unavailable("the database does not answer at the moment")


async def test_an_upstream_that_takes_its_time(client: Client, remote, shelf: Shelf, rows):
    """A replica that waits for the upstream's answer is heard of meanwhile: no other one asks as well."""
    go_on = Event()
    digest = shelf.blob(LAYER, held(go_on, partly(LAYER)))
    await remote()
    fetching = deferToThread(pull, client, BLOB + digest)
    await until(lambda: shelf.asked(digest))
    [[first]] = rows("SELECT lease_until FROM fills")
    await until(lambda: rows("SELECT lease_until FROM fills") != [(first,)])
    assert rows("SELECT lease_until FROM fills") != []  # an upstream that is too slow, after its `timeout`
    go_on.set()
    right(await fetching, LAYER, "miss")


async def test_what_was_kept_is_lost(client: Client, remote, shelf: Shelf, rows, config):
    """A blob of which the store has lost what it had is fetched anew, after one pull that is cut."""
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), answer(503))
    await remote()
    assert not (await get(client, digest)).whole
    await until(lambda: rows("SELECT lease_until < now() FROM fills") == [(True,)])
    [staged] = (config.data_dir / "staging").iterdir()
    shutil.rmtree(staged)
    shelf.blob(LAYER)
    await get(client, digest)
    right(await get(client, digest), LAYER, "miss")
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])


async def test_no_session(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """When there can be no session, nobody waits for the one that wanted it."""
    digest = shelf.blob()
    await remote()
    monkeypatch.setattr(uploads, "start", refuse)
    assert (await client.get(BLOB + digest)).status == 503
    assert rows(NOTHING) == [(0, 0, 0)]


async def test_the_last_statement_fails(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """A blob that is whole, but could not be made one, is made one by the next pull; no byte comes again."""
    content = LAYER * 16
    digest = shelf.blob(content)
    await remote()
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "finish", refuse)
        assert not (await get(client, digest)).whole
    await until(lambda: rows("SELECT lease_until < now() FROM fills") == [(True,)])
    found = await get(client, digest)
    assert (found.status, found.body == content) == (200, True)
    await until(lambda: shelf.scripted.exchanges[-1].ended.is_set())
    assert [seen.headers.get("range") for seen in shelf.scripted.seen] == [None, f"bytes={len(content)}-", None]
    assert shelf.scripted.exchanges[-1].sent < len(content)


async def test_a_repo_of_the_same_name(client: Client, remote, shelf: Shelf):
    """A repo that is made anew has nothing to do with what still comes for the one of its name before."""
    go_on, another = Event(), Scripted()
    digest = shelf.blob(LAYER, held(go_on, partly(LAYER)))
    another.on("GET .*/blobs/", partly(LAYER))
    await remote()
    old = deferToThread(pull, client, BLOB + digest)
    await until(lambda: shelf.asked(digest))
    assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    await remote(upstream=another.url)
    new = deferToThread(pull, client, BLOB + digest)
    try:
        await until(lambda: another.seen)
    finally:
        go_on.set()
        await old
        another.close()
    right(await new, LAYER, "miss")


async def test_a_repo_that_is_gone(client: Client, remote, shelf: Shelf, rows):
    """What comes for a repo that was deleted is hung up on, however slow it is."""
    digest = shelf.blob(LAYER, hanging(head(200, content_length=len(LAYER)), LAYER[:300_000]))
    await remote(timeout=600)
    pulling = deferToThread(pull, client, BLOB + digest)
    await until(lambda: rows("SELECT 1 FROM upload_sessions WHERE store_state IS NOT NULL"))
    assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    assert not (await pulling).whole
    await until(lambda: shelf.scripted.exchanges[0].ended.is_set())
    assert rows(NOTHING) == [(0, 0, 0)]
