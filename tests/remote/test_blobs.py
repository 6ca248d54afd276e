"""Blobs of a remote repo: given to who waits while they come, kept if they are right, and never wrong."""

from __future__ import annotations

from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from artifactapi.registry import arriving, fills
from artifactapi.service import Artifactapi
from tests.client import Client, digest_of
from tests.remote.pulls import Pull, asked, ended, pull
from tests.remote.shelf import APP, LAYER, Shelf
from tests.upstream.reading import until
from tests.upstream.scripted import (
    Exchange,
    Reply,
    answer,
    chunked,
    cut,
    hanging,
    head,
    held,
    partly,
    raw,
    redirect,
)

WRONG = LAYER[:-1] + b"\0"
BLOB = f"/v2/hub/{APP}/blobs/"
SMALL = b"a config"
FETCHED = """INSERT INTO fills SELECT id, 'team/app', '{}', gen_random_uuid(), now() + interval '{} seconds', {}
    FROM repos WHERE name = 'hub' RETURNING 1"""
"""A row of another replica, which fetches a blob."""
NOTHING = (
    "SELECT (SELECT count(*) FROM image_blobs), (SELECT count(*) FROM fills), (SELECT count(*) FROM upload_sessions)"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(arriving, "PAUSE", 0.02)
    monkeypatch.setattr(fills, "LOOK", 0.02)


async def get(client: Client, digest: str, **headers: str) -> Pull:
    """A pull, in a thread."""
    return await deferToThread(pull, client, BLOB + digest, **headers)


def right(found: Pull, content: bytes, source: str) -> None:
    """It is the content, all of it, from there."""
    assert (found.status, found.headers["x-artifact-source"]) == (200, source)
    assert found.whole
    assert found.body == content


def later_the_rest(body: bytes, first: int, go_on: Event) -> Reply:
    """A part of a blob, and the rest when the test says so."""
    rest = held(go_on, raw(body[first:]))

    def reply(exchange: Exchange) -> None:
        exchange.send(head(200, content_length=len(body)) + body[:first])
        rest(exchange)

    return reply


@pytest.mark.parametrize("content", [SMALL, LAYER, b""])
async def test_miss_and_hit(client: Client, remote, shelf: Shelf, rows, content: bytes):
    """The first pull gets it from the upstream, all others without any request; nothing is left of the fetching."""
    digest = shelf.blob(content)
    await remote()
    first = await get(client, digest)
    right(first, content, "miss" if content else "hit")
    assert first.headers["docker-content-digest"] == digest
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])
    right(await get(client, digest), content, "hit")
    assert shelf.asked(digest) == ["GET"]


@pytest.mark.parametrize("reply", [chunked(LAYER[:9], LAYER[9:]), raw(head(200), LAYER)])
async def test_unknown_length(client: Client, remote, shelf: Shelf, reply: Reply):
    """A blob whose length the upstream does not say is given when it is here."""
    digest = shelf.blob(LAYER, reply)
    await remote()
    right(await get(client, digest), LAYER, "hit")


async def test_the_first_bytes_come_first(client: Client, remote, shelf: Shelf):
    """Bytes are given as they come, before the upstream has sent all; those who come later get all as well."""
    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on))
    await remote()
    with client.connect() as connection:
        received = await deferToThread(asked, connection, BLOB + digest)
        while len(received) < 400_000:
            received += await deferToThread(connection.recv, 65536)
        second = get(client, digest)
        go_on.set()
        right(await deferToThread(ended, received, connection), LAYER, "miss")
    assert (await second).body == LAYER
    assert shelf.asked(digest) == ["GET"]


async def test_many(client: Client, remote, shelf: Shelf):
    """Pulls of a cold blob at the same time are one request."""
    digest = shelf.blob()
    await remote()
    pulls = [
        Deferred.fromCoroutine(get(client, digest)) for _ in range(6)
    ]  # the reactor has ten threads, and resolves names with them
    for one in pulls:
        found = await one
        assert (found.status, found.whole, digest_of(found.body)) == (200, True, digest)
    assert shelf.asked(digest) == ["GET"]


async def test_too_many(client: Client, remote, shelf: Shelf, rows, monkeypatch: pytest.MonkeyPatch):
    """So many are fetched at once; another one waits until one has ended, however it did, and takes no lease."""
    monkeypatch.setattr(fills, "MOST", 2)
    go_on = Event()
    first = shelf.blob(SMALL, held(go_on, answer(200, b"wrong")))
    others = [shelf.blob(content, held(go_on, answer(200, content))) for content in (b"second", b"third", b"fourth")]
    await remote()
    pulls = [Deferred.fromCoroutine(get(client, digest)) for digest in (first, *others)]
    await until(lambda: len(shelf.asked("/blobs/")) == 2)
    await client.get("/v2/")  # which was asked later, and is answered
    assert len(shelf.asked("/blobs/")) == 2
    assert rows("SELECT count(*) FROM fills") == [(2,)]
    go_on.set()
    assert sorted([(await one).status for one in pulls]) == [200, 200, 200, 502]


async def test_too_many_here(client: Client, remote, shelf: Shelf, rows, monkeypatch: pytest.MonkeyPatch):
    """What another replica fetches is followed, however many are fetched here."""
    monkeypatch.setattr(fills, "MOST", 1)
    monkeypatch.setattr("artifactapi.registry.fill.PATIENCE", 0.05)
    go_on = Event()
    slow, elsewhere = shelf.blob(SMALL, held(go_on, answer(200, SMALL))), shelf.blob()
    await remote()
    rows(FETCHED.format(elsewhere, 86400, len(LAYER)))
    waiting = Deferred.fromCoroutine(get(client, slow))
    await until(lambda: shelf.asked(slow))
    with client.connect() as connection:
        received = await deferToThread(asked, connection, BLOB + elsewhere)
        assert (received.startswith(b"HTTP/1.1 200 "), waiting.called) == (True, False)
        rows("UPDATE fills SET lease_until = now() WHERE size IS NOT NULL RETURNING 1")
        assert (await deferToThread(ended, received, connection)).body == LAYER
    go_on.set()
    right(await waiting, SMALL, "miss")


async def test_too_many_of_another_repo(client: Client, remote, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    """An upstream that hangs holds up what is fetched from it, and from no other one."""
    monkeypatch.setattr(fills, "MOST", 1)
    go_on = Event()
    slow, quick = shelf.blob(SMALL, held(go_on, answer(200, SMALL))), shelf.blob(LAYER)
    await remote()
    await remote("another")
    waiting = Deferred.fromCoroutine(get(client, slow))
    await until(lambda: shelf.asked(slow))
    try:
        found = await deferToThread(pull, client, f"/v2/another/{APP}/blobs/{quick}")
        assert (found.body, waiting.called) == (LAYER, False)
    finally:
        go_on.set()
        await waiting


async def test_fetches_that_never_began(client: Client, remote, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    """What the upstream did not have takes nobody's place."""
    monkeypatch.setattr(fills, "MOST", 1)
    missing, there = shelf.blob(LAYER, answer(404)), shelf.blob(SMALL)
    await remote()
    assert [(await client.get(BLOB + digest)).status for digest in (missing, there)] == [404, 200]


async def test_a_range(client: Client, remote, shelf: Shelf):
    """A range of a cold blob is that range, while the whole blob is kept."""
    digest = shelf.blob()
    await remote()
    for source in ("miss", "hit"):
        found = await get(client, digest, Range="bytes=1000-600999")
        assert (found.status, found.body) == (206, LAYER[1000:601_000])
        assert found.headers["content-range"] == f"bytes 1000-600999/{len(LAYER)}"
        await until(lambda: shelf.scripted.exchanges[0].ended.is_set())
        if source == "miss":
            right(await get(client, digest), LAYER, "hit")
    assert shelf.asked(digest) == ["GET"]
    assert (await get(client, digest, Range="bytes=9999999-")).status == 416


async def head_of(client: Client, digest: str) -> tuple[int, str, str]:
    """HEAD: the status, the length, and the source."""
    answered = await client.request("HEAD", BLOB + digest)
    return answered.status, answered.headers["Content-Length"], answered.headers["X-Artifact-Source"]


async def test_head(client: Client, remote, shelf: Shelf, rows):
    """HEAD of a cold blob says how long the upstream says that it is, and does not fetch it."""
    digest = shelf.blob()
    await remote()
    assert await head_of(client, digest) == (200, str(len(LAYER)), "miss")
    assert rows(NOTHING) == [(0, 0, 0)]
    assert shelf.asked(digest) == ["HEAD"]
    assert (await client.request("HEAD", BLOB + digest_of(b"other"))).status == 404


@pytest.mark.parametrize("reply", [answer(405), raw(head(200))], ids=["refused", "no length"])
async def test_head_of_an_upstream_that_does_not_say(client: Client, remote, shelf: Shelf, reply: Reply):
    """Where the upstream does not answer HEAD, or without a length, it is fetched to know it."""
    digest = shelf.blob()
    shelf.scripted.on(f"HEAD .*{digest}$", reply)
    await remote()
    assert await head_of(client, digest) == (200, str(len(LAYER)), "miss")
    assert shelf.asked(digest) == ["HEAD", "GET"]
    assert (await head_of(client, digest))[2] in ("miss", "hit")
    assert shelf.asked(digest) == ["HEAD", "GET"]


@pytest.mark.parametrize(
    "status, said, asked_for",
    [
        (200, LAYER, ["HEAD"]),
        (404, b"", ["HEAD", "GET"]),
        (405, b"", ["HEAD", "GET"]),
        (200, b"<html>", ["HEAD", "GET"]),
    ],
    ids=["it is", "it is not", "it does not say", "it says that of everything"],
)
async def test_what_another_image_has(
    client: Client, remote, shelf: Shelf, rows, status: int, said: bytes, asked_for: list[str]
):
    """A blob that another image of the repo has is not fetched again, if the upstream says that it is in this one."""
    digest = shelf.blob(LAYER, name="team/base")
    await remote()
    assert (await client.get(f"/v2/hub/team/base/blobs/{digest}")).body == LAYER
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])
    shelf.blob(LAYER, answer(404) if status == 404 else partly(LAYER))
    shelf.scripted.on(f"HEAD .*{APP}/blobs/{digest}$", answer(status, said))
    found = await get(client, digest)
    if status == 404:
        assert found.status == 404
    else:
        right(found, LAYER, "hit" if said == LAYER else "miss")
    assert shelf.asked(f"{APP}/blobs/{digest}") == asked_for
    await until(lambda: rows(NOTHING) == [(1 if status == 404 else 2, 0, 0)])
    assert rows("SELECT count(*) FROM blobs") == [(1,)]


async def test_what_the_client_has(client: Client, remote, shelf: Shelf, rows):
    """Who has a blob already is told that it is the same, and it is not fetched for that."""
    digest = shelf.blob()
    await remote()
    answered = await client.get(BLOB + digest, if_none_match=f'"{digest}"')
    assert (answered.status, answered.body) == (304, b"")
    assert shelf.asked(digest) == ["HEAD"]


async def test_clients_that_hang_up_while_they_wait(
    client: Client, service: Artifactapi, remote, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is kept of who came too late for the bytes that have gone by, and does not wait for the end."""
    monkeypatch.setattr("artifactapi.registry.fill.PATIENCE", 0.05)
    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on))
    await remote()
    with client.connect() as first:
        received = await deferToThread(asked, first, BLOB + digest)
        while len(received) < 400_000:
            received += await deferToThread(first.recv, 65536)
        [fill] = service.registry.blobs._elsewhere._remote._fills._running.values()  # type: ignore[union-attr]
        for _ in range(3):
            client.connect().close()
            with client.connect() as late:
                await deferToThread(late.sendall, f"GET {BLOB + digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await until(lambda: len(fill._readers) == 2)
            await until(lambda: len(fill._readers) == 1)
        go_on.set()
        right(await deferToThread(ended, received, first), LAYER, "miss")


async def test_a_blob_that_is_no_manifest(client: Client, remote, shelf: Shelf):
    """That the upstream has no manifest of a digest says nothing of blobs."""
    digest = shelf.blob()
    await remote()
    assert (await client.get(f"/v2/hub/{APP}/manifests/{digest}")).code == "MANIFEST_UNKNOWN"
    right(await get(client, digest), LAYER, "miss")


async def test_small_and_wrong(client: Client, remote, shelf: Shelf):
    """What goes wrong before the first byte could be given is told, not only cut."""
    digest = shelf.blob(SMALL, answer(200, b"another!"))
    await remote()
    answered = await client.get(BLOB + digest)
    assert (answered.status, answered.code) == (502, "UPSTREAM_UNAVAILABLE")


async def test_what_another_replica_fetches(client: Client, remote, shelf: Shelf, rows, monkeypatch):
    """Whoever waits for another replica has the headers meanwhile, and all of it if that replica dies."""
    monkeypatch.setattr("artifactapi.registry.fill.PATIENCE", 0.05)
    digest = shelf.blob()
    await remote()
    rows(FETCHED.format(digest, 86400, len(LAYER)))
    assert await head_of(client, digest) == (200, str(len(LAYER)), "miss")
    with client.connect() as connection:
        received = await deferToThread(asked, connection, BLOB + digest, Range="bytes=500000-")
        assert received.startswith(b"HTTP/1.1 206 ")
        assert shelf.asked(digest) == ["HEAD"]
        rows("UPDATE fills SET lease_until = now() - interval '1 second' RETURNING 1")
        found = await deferToThread(ended, received, connection)
    assert (found.whole, found.body) == (True, LAYER[500_000:])
    assert shelf.asked(digest) == ["HEAD", "GET"]
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])


async def test_what_no_replica_can_fetch(client: Client, remote, shelf: Shelf, rows):
    """If the upstream has it no more when that replica has died, whoever waits is told."""
    digest = shelf.blob(LAYER, answer(404))
    await remote()
    rows(FETCHED.format(digest, 1, len(LAYER)))
    answered = await client.get(BLOB + digest)
    assert (answered.status, answered.code) == (404, "BLOB_UNKNOWN")
    assert rows(NOTHING) == [(0, 0, 0)]


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, WRONG),
        answer(200, LAYER + b"more"),
        answer(200, LAYER[:-1]),
        answer(200),
        chunked(WRONG),
        chunked(),
        raw(head(200), LAYER[:-7]),
    ],
    ids=["wrong", "longer", "shorter", "empty", "chunked", "no chunk", "until closed"],
)
async def test_wrong(client: Client, remote, shelf: Shelf, rows, reply: Reply):
    """Bytes that do not have the digest are never all given, nor kept; the next pull begins anew."""
    digest = shelf.blob(LAYER, reply, partly(LAYER))
    await remote()
    found = await get(client, digest)
    assert found.status == 502 or not found.whole
    await until(lambda: rows(NOTHING) == [(0, 0, 0)])
    right(await get(client, digest), LAYER, "miss")


async def test_wrong_in_a_range(client: Client, remote, shelf: Shelf):
    """A range is not given to its end, either, before the whole is known to be right."""
    digest = shelf.blob(LAYER, answer(200, WRONG))
    await remote()
    assert not (await get(client, digest, Range="bytes=0-999999")).whole


async def test_gone_on_with(client: Client, remote, shelf: Shelf):
    """A body that breaks off is gone on with where it broke, again and again; nobody sees anything of it."""
    breaking = [cut(LAYER, 400_000)] + [
        raw(
            head(
                206,
                content_length=len(LAYER) - at,
                content_range=f"bytes {at}-{len(LAYER) - 1}/{len(LAYER)}",
            ),
            LAYER[at : at + 100_000],
        )
        for at in range(400_000, 900_000, 100_000)
    ]
    digest = shelf.blob(LAYER, *breaking, partly(LAYER))
    await remote()
    right(await get(client, digest), LAYER, "miss")
    ranges = [seen.headers.get("range") for seen in shelf.scripted.seen]
    assert ranges == [None, *(f"bytes={at}-" for at in range(400_000, 1_000_000, 100_000))]


async def test_without_ranges(client: Client, remote, shelf: Shelf):
    """An upstream that knows no ranges sends all again, of which the client gets what it has not."""
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), cut(LAYER, 300_000), answer(200, LAYER))
    await remote()
    right(await get(client, digest), LAYER, "miss")


async def test_hangs(client: Client, remote, shelf: Shelf):
    """A body that stops coming is gone on with when the timeout is over."""
    digest = shelf.blob(LAYER, hanging(head(200, content_length=len(LAYER)), LAYER[:300_000]), partly(LAYER))
    await remote(timeout=1)
    right(await get(client, digest), LAYER, "miss")


async def test_gives_up(client: Client, remote, shelf: Shelf, rows):
    """An upstream that never goes on ends the pull, whose bytes are kept for the next one."""
    digest = shelf.blob(LAYER, cut(LAYER, 400_000), answer(503))
    await remote()
    assert not (await get(client, digest)).whole
    assert len(shelf.scripted.seen) == 1 + arriving.TRIES
    assert rows("SELECT lease_until < now() FROM fills") == [(True,)]
    shelf.blob(LAYER)
    found = await get(client, digest)
    assert found.body == LAYER
    assert shelf.scripted.seen[-1].headers["range"].startswith("bytes=")
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])


async def test_all_is_here_already(client: Client, remote, shelf: Shelf, rows):
    """Bytes of which none is missing but the last word are kept, although the upstream has no such range."""
    go_on = Event()
    digest = shelf.blob(LAYER, chunked(LAYER, end=b""), answer(416))
    await remote()
    assert (await get(client, digest)).status == 502
    go_on.set()
    shelf.blob(LAYER, answer(416), answer(200, LAYER))
    found = await get(client, digest)
    assert found.body == LAYER


async def test_redirects(client: Client, remote, shelf: Shelf):
    """A blob is fetched from where the upstream sends us."""
    shelf.scripted.on("GET /storage", partly(LAYER))
    digest = shelf.blob(LAYER, redirect("/storage"))
    await remote()
    right(await get(client, digest), LAYER, "miss")


@pytest.mark.parametrize(
    "reply, status, code",
    [
        (answer(404), 404, "BLOB_UNKNOWN"),
        (answer(401), 403, "DENIED"),
        (answer(403), 403, "DENIED"),
        (answer(429, retry_after=7), 429, "TOOMANYREQUESTS"),
        (answer(500), 502, "UPSTREAM_UNAVAILABLE"),
        (raw(), 502, "UPSTREAM_UNAVAILABLE"),
        (hanging(), 504, "UPSTREAM_UNAVAILABLE"),
    ],
)
async def test_errors(client: Client, remote, shelf: Shelf, rows, reply: Reply, status: int, code: str):
    """An upstream that has nothing to give is an honest error, and leaves nothing behind."""
    digest = shelf.blob(LAYER, reply)
    await remote(timeout=1, connect_timeout=1)
    answered = await client.get(BLOB + digest)
    assert (answered.status, answered.code) == (status, code)
    assert rows(NOTHING) == [(0, 0, 0)]


@pytest.mark.parametrize("status", [400, 404, 410, 401, 403, 451, 500])
async def test_errors_that_last(client: Client, remote, shelf: Shelf, status: int):
    """What the upstream has refused, or does not have, is not asked for again at once; other things are."""
    digest = shelf.blob(LAYER, answer(status))
    other = shelf.blob(SMALL)
    await remote()
    expected = {400: "BLOB_UNKNOWN", 404: "BLOB_UNKNOWN", 410: "BLOB_UNKNOWN", 500: "UPSTREAM_UNAVAILABLE"}
    for _ in range(3):
        answered = await client.get(BLOB + digest)
        assert answered.code == expected.get(status, "DENIED")
    assert len(shelf.asked(digest)) == (3 if status == 400 else 1)
    assert (await client.get(BLOB + other)).body == SMALL


async def test_a_client_that_hangs_up(client: Client, remote, shelf: Shelf, rows):
    """The blob is fetched to its end, although nobody waits for it any more."""
    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on))
    await remote()
    with client.connect() as connection:
        await deferToThread(asked, connection, BLOB + digest)
    go_on.set()
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])
    right(await get(client, digest), LAYER, "hit")
    assert shelf.asked(digest) == ["GET"]


async def test_a_slow_client(client: Client, remote, shelf: Shelf):
    """A client that does not read holds up nobody, and gets the rest when it likes."""
    content = LAYER * 16
    digest = shelf.blob(content)
    await remote()
    with client.connect() as slow:
        received = await deferToThread(asked, slow, BLOB + digest)
        assert (await get(client, digest)).body == content
        right(await deferToThread(ended, received, slow), content, "miss")
    assert shelf.asked(digest) == ["GET"]


async def test_metrics(client: Client, service, remote, shelf: Shelf):
    """Pulls are counted by their source, and requests to upstreams by their status."""
    digest = shelf.blob()
    await remote()
    for _ in range(3):
        await get(client, digest)
    wanted = {
        ("artifactapi_remote_pulls_total", "miss"): 1,
        ("artifactapi_remote_pulls_total", "hit"): 2,
        ("artifactapi_remote_saved_bytes_total",): 2 * len(LAYER),
        ("artifactapi_upstream_seconds_count", "blob", "200"): 1,
    }

    def counted() -> bool:
        families = text_string_to_metric_families(service.metrics.text().decode())
        shown = {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }
        return {name: shown.get(name) for name in wanted} == wanted

    await until(counted)


async def test_a_repo_that_is_deleted(client: Client, remote, shelf: Shelf, rows):
    """A repo may be deleted while a blob of it comes, or is waited for: nothing is left of it."""
    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on))
    await remote()
    fetching = deferToThread(pull, client, BLOB + digest)
    await until(lambda: rows("SELECT 1 FROM fills"))
    assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    go_on.set()
    found = await fetching
    assert found.status == 404 or not found.whole
    await until(lambda: rows(NOTHING) == [(0, 0, 0)])
    assert (await client.get(BLOB + digest)).code == "NAME_UNKNOWN"


async def test_a_session_that_is_gone(client: Client, remote, shelf: Shelf, rows):
    """When what came of a blob is taken away, whoever wants it next fetches it at once, and not after the lease."""
    go_on = Event()
    digest = shelf.blob(LAYER, later_the_rest(LAYER, 500_000, go_on), partly(LAYER))
    await remote()
    fetching = deferToThread(pull, client, BLOB + digest)
    await until(lambda: rows("SELECT 1 FROM upload_sessions WHERE store_state IS NOT NULL"))
    rows("DELETE FROM upload_sessions RETURNING 1")
    go_on.set()
    assert not (await fetching).whole
    await until(lambda: rows("SELECT count(*) FROM fills") == [(0,)])
    right(await get(client, digest), LAYER, "miss")


async def test_waiting_for_a_repo_that_is_deleted(client: Client, remote, shelf: Shelf, rows):
    """Who waits for what another replica fetches hears when the repo is no more."""
    digest = shelf.blob()
    await remote()
    rows(FETCHED.format(digest, 86400, "NULL"))
    waiting = client.get(BLOB + digest)
    await client.get("/v2/")  # which was asked later, and is answered
    assert (await client.request("DELETE", "/api/v1/repos/hub?force=true")).status == 204
    assert (await waiting).code == "NAME_UNKNOWN"
    assert shelf.asked(digest) == []


async def test_of_a_replica_that_died(client: Client, remote, shelf: Shelf, rows):
    """What a replica fetched that is not heard of any more is fetched by whoever wants it."""
    digest = shelf.blob()
    await remote()
    rows(FETCHED.format(digest, 1, "NULL"))
    assert (await client.get(BLOB + digest)).body == LAYER
    await until(lambda: rows(NOTHING) == [(1, 0, 0)])
