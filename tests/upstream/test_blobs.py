"""Blobs of an upstream, streamed."""

from __future__ import annotations

import gzip
from contextlib import suppress
from threading import Event

import pytest

from artifactapi.upstream.errors import Broken, Denied, NotThere
from artifactapi.upstream.upstream import Upstream
from tests.upstream.reading import DIGEST, begin, breaks, content, until, whole
from tests.upstream.scripted import Scripted, answer, chunked, cut, hanging, head, held, partly, raw

MIB = 1024 * 1024
BLOB = bytes(range(256)) * 4096


async def test_a_blob(scripted: Scripted, upstream: Upstream, observed: list):
    """All bytes come, and how many there are is known before."""
    scripted.on(f"GET /v2/team/app/blobs/{DIGEST}$", answer(200, BLOB))
    download = await upstream.blob("team/app", DIGEST)
    assert (download.start, download.length) == (0, len(BLOB))
    assert await whole(download) == BLOB
    assert await download.read() == []
    assert scripted.seen[0].headers["accept-encoding"] == "identity"
    assert "range" not in scripted.seen[0].headers
    assert observed == [("blob", 200, None)]


@pytest.mark.parametrize("reply", [chunked(BLOB[:7], BLOB[7:]), raw(head(200), BLOB)])
async def test_a_blob_of_unknown_length(scripted: Scripted, upstream: Upstream, reply):
    """In chunks, or until the connection ends, its length is not known."""
    scripted.on("GET", reply)
    download = await upstream.blob("team/app", DIGEST)
    assert download.length is None
    assert await whole(download) == BLOB


async def test_one_blob_after_another(scripted: Scripted, upstream: Upstream):
    """A connection that has given a whole blob is used again."""
    scripted.on("GET", answer(200, BLOB))
    for _ in range(3):
        download = await upstream.blob("team/app", DIGEST)
        assert await whole(download) == BLOB
        download.close()
    assert scripted.connections == 1


async def test_an_empty_blob(scripted: Scripted, upstream: Upstream):
    """No bytes are a blob too."""
    scripted.on("GET", answer(200))
    assert await content(upstream) == b""


async def test_the_first_bytes_come_first(scripted: Scripted, upstream: Upstream):
    """Bytes are given when they are there, not when all are."""
    go_on = Event()
    rest = held(go_on, raw(b"rest"))
    scripted.on("GET", lambda exchange: (exchange.send(head(200, content_length=9) + b"first"), rest(exchange)))
    download = await upstream.blob("team/app", DIGEST)
    try:
        assert await download.read() == [b"first"]
    finally:
        go_on.set()
    assert await whole(download) == b"rest"


async def test_a_part(scripted: Scripted, upstream: Upstream):
    """From any place on, if the upstream knows ranges."""
    scripted.on("GET", partly(BLOB))
    download = await upstream.blob("team/app", DIGEST, 1000)
    assert (download.start, download.length) == (1000, len(BLOB))
    assert await whole(download) == BLOB[1000:]
    assert scripted.seen[0].headers["range"] == "bytes=1000-"


async def test_no_parts(scripted: Scripted, upstream: Upstream):
    """From 0 on, if it does not."""
    scripted.on("GET", answer(200, BLOB))
    download = await upstream.blob("team/app", DIGEST, 1000)
    assert (download.start, download.length) == (0, len(BLOB))
    assert await whole(download) == BLOB


async def test_a_part_of_unknown_length(scripted: Scripted, upstream: Upstream):
    """A Content-Range need not say how long the whole is."""
    scripted.on("GET", answer(206, b"efg", content_range="bytes 4-6/*"))
    download = await upstream.blob("team/app", DIGEST, 4)
    assert (download.start, download.length) == (4, None)
    assert await whole(download) == b"efg"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_range": "bytes 3-5/10"},
        {"content_range": "bytes 4-6/6"},
        {"content_range": "bytes 6-4/10"},
        {"content_range": "bytes 4-7/10"},
        {"content_range": "4-6/10"},
        {"content_range": "bytes 4-99999999999999999999/*"},
        {"content_type": "multipart/byteranges; boundary=x"},
    ],
)
async def test_parts_that_are_none(scripted: Scripted, upstream: Upstream, headers: dict[str, str]):
    """A 206 that is not the part asked for is refused at once."""
    scripted.on("GET", answer(206, b"efg", **headers))
    await breaks(upstream.blob("team/app", DIGEST, 4), "malformed", 206)


async def test_a_long_part_that_is_none(scripted: Scripted, upstream: Upstream):
    """Nobody waits for the rest of it."""
    scripted.on("GET", hanging(head(206, content_length=9, content_range="bytes 3-11/12")))
    await breaks(upstream.blob("team/app", DIGEST, 4), "malformed", 206)
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_a_part_nobody_asked_for(scripted: Scripted, upstream: Upstream):
    """206 answers a Range only."""
    scripted.on("GET", answer(206, b"efg", content_range="bytes 0-2/3"))
    await breaks(upstream.blob("team/app", DIGEST), "status", 206)


async def test_a_part_of_the_rest(scripted: Scripted, upstream: Upstream):
    """A part that ends before the blob does is cut: the rest has to be asked for."""
    scripted.on("GET", answer(206, b"efg", content_range="bytes 4-6/10"))
    download = await upstream.blob("team/app", DIGEST, 4)
    assert await download.read() == [b"efg"]
    await breaks(download.read(), "cut")


async def test_more_than_a_part(scripted: Scripted, upstream: Upstream):
    """More bytes than the Content-Range has are no blob, and are not waited for."""
    reply = hanging(head(206, transfer_encoding="chunked", content_range="bytes 4-6/7"), b"4\r\nefgh\r\n")
    scripted.on("GET", reply)
    download = await upstream.blob("team/app", DIGEST, 4)
    await breaks(whole(download), "malformed")
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_behind_the_end(scripted: Scripted, upstream: Upstream):
    """416 is an error that says so."""
    scripted.on("GET", answer(416, content_range="bytes */4"))
    await breaks(upstream.blob("team/app", DIGEST, 4), "status", 416)


@pytest.mark.parametrize(
    "reply",
    [
        cut(BLOB, len(BLOB) - 1),
        cut(BLOB, 1),
        chunked(BLOB, end=b""),
        chunked(BLOB, end=b"5\r\nab"),
        raw(head(200, content_length=10)),
    ],
)
async def test_a_body_that_is_cut(scripted: Scripted, upstream: Upstream, reply):
    """An early end is never mistaken for the end, and what came is given before it is told."""
    scripted.on("GET", reply)
    download = await upstream.blob("team/app", DIGEST)
    await breaks(whole(download), "cut")
    await breaks(download.read(), "cut")


async def test_what_came_before_a_cut(scripted: Scripted, upstream: Upstream):
    """With a Range the rest can be had."""
    scripted.on("GET", cut(BLOB, 300_000), partly(BLOB))
    download, come = await upstream.blob("team/app", DIGEST), b""
    with suppress(Broken):
        while True:
            come += b"".join(await download.read())
    assert come == BLOB[:300_000]
    assert come + await content(upstream, start=len(come)) == BLOB


@pytest.mark.parametrize("end", [b"xyz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n"])
async def test_malformed_chunks(scripted: Scripted, upstream: Upstream, end: bytes):
    """Chunks that are none are no early end: asking again is no use."""
    scripted.on("GET", chunked(b"abc", end=end))
    await breaks(whole(await upstream.blob("team/app", DIGEST)), "malformed")


async def test_a_compressed_blob(scripted: Scripted, upstream: Upstream):
    """A blob that a proxy compressed is refused; one that is a gzip file is just bytes."""
    packed = gzip.compress(BLOB)
    scripted.on(
        "GET", answer(200, packed, content_encoding="gzip"), answer(200, packed, content_type="application/gzip")
    )
    await breaks(upstream.blob("team/app", DIGEST), "encoding", 200)
    assert await content(upstream) == packed


@pytest.mark.parametrize("status, error", [(404, NotThere), (403, Denied)])
async def test_refusals(scripted: Scripted, upstream: Upstream, status: int, error: type[Exception]):
    """What the upstream says of a blob is passed on."""
    scripted.on("GET", answer(status, b"{}"))
    with pytest.raises(error):
        await upstream.blob("team/app", DIGEST)


async def test_closing(scripted: Scripted, upstream: Upstream):
    """A download that is closed ends at the upstream at once, paused or not, and may be closed twice."""
    scripted.on("GET", answer(200, BLOB * 64))
    download = await upstream.blob("team/app", DIGEST)
    await download.read()
    download.close()
    download.close()
    await until(lambda: scripted.exchanges[0].ended.is_set())
    assert scripted.exchanges[0].sent < 64 * len(BLOB)
    await breaks(download.read(), "cut")


async def test_closing_while_somebody_reads(scripted: Scripted, upstream: Upstream):
    """Who waits for bytes of a download that another closes is told."""
    scripted.on("GET", hanging(head(200, content_length=9)))
    download = await upstream.blob("team/app", DIGEST)
    waiting = begin(download.read())
    assert not waiting.called
    download.close()
    await breaks(waiting, "cut")
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_a_reader_that_gives_up(scripted: Scripted, upstream: Upstream):
    """A reader that is cancelled leaves the download to the next one."""
    go_on = Event()
    scripted.on("GET", held(go_on, answer(200, BLOB)))
    scripted.on("GET", hanging(head(200, content_length=9) + b"abc"))
    download = await upstream.blob("team/app", DIGEST)
    assert await download.read() == [b"abc"]
    waiting = begin(download.read())
    waiting.addErrback(lambda failure: failure.type.__name__)
    waiting.cancel()
    assert await waiting == "CancelledError"
    again = begin(download.read())
    assert not again.called
    download.close()
    await breaks(again, "cut")


async def test_a_reader_that_stops(scripted: Scripted, upstream: Upstream):
    """While nobody reads, the upstream cannot send: no more than the kernel and a small buffer take."""
    size = 64 * MIB
    piece = bytes(MIB)
    scripted.on(
        "GET",
        lambda exchange: (
            exchange.send(head(200, content_length=size)),
            [exchange.send(piece) for _ in range(size // MIB)],
        ),
    )
    download = await upstream.blob("team/app", DIGEST)
    [exchange] = scripted.exchanges
    sent = -1

    async def stands_still() -> bool:
        nonlocal sent
        before, sent = sent, exchange.sent
        return before == sent

    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    while not await stands_still():
        await deferLater(reactor, 0.2)
    body = download._body
    assert body._held < MIB
    assert exchange.sent < 32 * MIB
    read = 0
    while more := await download.read():
        read += sum(map(len, more))
        assert body._held < MIB
    assert read == size
