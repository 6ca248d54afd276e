"""What goes wrong between an upstream's answer and the rows: it holds up nobody, and is not paid for twice."""

from __future__ import annotations

import shutil
from threading import Event

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.metadata import fills as fill_rows
from artifactapi.metadata import uploads
from artifactapi.oci.errors import Unavailable
from artifactapi.registry import arriving, fills, lease
from artifactapi.service import Artifactapi
from tests.client import Client
from tests.remote.pulls import pull
from tests.remote.shelf import LAYER, Shelf
from tests.remote.test_blobs import BLOB, FETCHED, NOTHING, get, later_the_rest, right
from tests.upstream.reading import until
from tests.upstream.scripted import Scripted, answer, cut, hanging, head, held, partly


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(arriving, "PAUSE", 0.02)
    monkeypatch.setattr(fills, "LOOK", 0.02)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.02)


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
    assert rows("SELECT lease_until < now() FROM fills") == [(True,)]
    [staged] = (config.data_dir / "staging").iterdir()
    shutil.rmtree(staged)
    shelf.blob(LAYER)
    await get(client, digest)
    right(await get(client, digest), LAYER, "miss")
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])


async def test_the_session_is_lost(client: Client, remote, shelf: Shelf, rows):
    """So is one whose session ends while the upstream is asked to go on."""
    go_on = Event()
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), answer(503))
    await remote()
    assert not (await get(client, digest)).whole
    before = len(shelf.asked(digest))
    shelf.blob(LAYER, held(go_on, partly(LAYER)), partly(LAYER))
    pulling = deferToThread(pull, client, BLOB + digest)
    await until(lambda: len(shelf.asked(digest)) == before + 1)
    rows("DELETE FROM upload_sessions RETURNING 1")
    go_on.set()
    found = await pulling
    assert found.status == 503 or not found.whole
    right(await get(client, digest), LAYER, "miss")


async def test_no_session(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """When there can be no session, nobody waits for the one that wanted it."""
    digest = shelf.blob()
    await remote()
    monkeypatch.setattr(uploads, "start", refuse)
    assert (await client.get(BLOB + digest)).status == 503
    assert rows(NOTHING) == [(0, 0, 0)]


async def test_a_pull_that_cannot_go_on(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """What was kept of a blob stays when the next pull fails before its first byte, whatever fails then."""
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), answer(503))
    await remote()
    assert not (await get(client, digest)).whole
    assert rows("SELECT lease_until < now() FROM fills") == [(True,)]
    [[kept]] = rows("SELECT session_id FROM fills")
    shelf.blob(LAYER, answer(400), partly(LAYER))
    assert (await client.get(BLOB + digest)).status == 404
    with monkeypatch.context() as patch:
        patch.setattr(fill_rows, "begin", refuse)
        assert (await client.get(BLOB + digest)).status == 503
    assert rows("SELECT session_id, lease_until < now() FROM fills") == [(kept, True)]
    right(await get(client, digest), LAYER, "miss")


async def test_a_lease_out_of_reach(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """A blob comes although its lease can be neither renewed nor given back."""
    refused = []

    async def count(*given) -> None:
        refused.append(given)
        await refuse()

    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on))
    await remote()
    pulling = deferToThread(pull, client, BLOB + digest)
    await until(lambda: rows("SELECT 1 FROM upload_sessions WHERE store_state IS NOT NULL"))
    for name in ("renew", "release"):
        monkeypatch.setattr(fill_rows, name, count)
    await until(lambda: len(refused) > 1)
    go_on.set()
    right(await pulling, LAYER, "miss")
    assert rows("SELECT count(*) FROM fills") == [(1,)]


async def test_the_last_heartbeat(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """A renewal that is under way when a blob is let go of does not take it back."""
    from twisted.internet import reactor

    renew, under_way = fill_rows.renew, []

    async def slowly(*given) -> bool:
        if not given[-1]:
            return await renew(*given)
        under_way.append(given)
        await deferLater(reactor, 0.3)
        renewed = await renew(*given)
        under_way.pop()
        return renewed

    monkeypatch.setattr(fill_rows, "renew", slowly)
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), answer(503))
    await remote()
    assert not (await get(client, digest)).whole
    await until(lambda: not under_way)
    assert rows("SELECT lease_until < now() FROM fills") == [(True,)]


async def test_stopping(client: Client, service: Artifactapi, remote, shelf: Shelf, rows):
    """A daemon that stops lets go of what it fetches, or is about to, and of what it waits for; it begins no more."""
    go_on = Event()
    first, second, third, fourth = (bytes([number]) + LAYER for number in range(4))
    fetched = shelf.blob(first, hanging(head(200, content_length=len(first)), first[:300_000]))
    asked = shelf.blob(second, held(go_on, partly(second)))
    elsewhere, later = shelf.blob(third), shelf.blob(fourth)
    await remote(timeout=600)
    rows(FETCHED.format(elsewhere, 86400, len(third)))
    pulls = [deferToThread(pull, client, BLOB + digest) for digest in (fetched, asked, elsewhere)]
    filling = service.registry.blobs._elsewhere._remote._fills  # type: ignore[union-attr]
    await until(lambda: filling._arriving and shelf.asked(asked) and len(filling._running) == 2)
    await filling.stop()
    assert (await client.get(BLOB + later)).status == 503
    go_on.set()
    assert [(await one).body in (first, second, third) for one in pulls] == [False] * 3
    assert rows("SELECT count(*) FROM fills WHERE lease_until < now()") == [(2,)]
    assert shelf.asked(later) == []


async def test_the_last_statement_fails(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """A blob that is whole, but could not be made one, is made one by the next pull; no byte comes again."""
    content = LAYER * 16
    digest = shelf.blob(content)
    await remote()
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "finish", refuse)
        assert not (await get(client, digest)).whole
    assert rows("SELECT lease_until < now() FROM fills") == [(True,)]
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
