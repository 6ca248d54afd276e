"""What can go wrong on the way to an upstream."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThread

from artifactapi.oci.names import Tag
from artifactapi.upstream.answer import retry_after
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Limited, NotThere
from artifactapi.upstream.upstream import Upstream
from tests.upstream.reading import DIGEST, begin, breaks, content, until, whole
from tests.upstream.scripted import Scripted, answer, hanging, head, raw

LATEST = Tag("latest")
SOON = 0.5
"""Seconds of the timeout that a test waits for; the others are long."""


async def test_nobody_listens(client, observed: list):
    """A refused connection is said to be one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    await breaks(client(f"http://127.0.0.1:{port}").digest("a", LATEST), "connect")
    assert observed == [("head", None, None)]


async def test_a_name_nobody_knows(client):
    """A name that has no address is said to have none."""
    await breaks(client("http://registry.invalid").digest("a", LATEST), "dns")


async def test_no_headers(scripted: Scripted, client, observed: list):
    """An upstream that takes the request and says nothing is left, and its connection closed."""
    scripted.on("GET", hanging())
    await breaks(client(connect_timeout=SOON, response_timeout=SOON).manifest("a", LATEST), "timeout")
    await until(lambda: scripted.exchanges[0].ended.is_set())
    assert observed == [("manifest", None, None)]
    assert len(scripted.seen) == 1


async def test_half_a_head(scripted: Scripted, client):
    """So is one that stops in its headers."""
    scripted.on("GET", hanging(b"HTTP/1.1 200 OK\r\nContent-Le"))
    await breaks(client(connect_timeout=SOON, response_timeout=SOON).manifest("a", LATEST), "timeout")
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_silence_in_a_body(scripted: Scripted, client):
    """A body that stops is left, when somebody has waited for it so long."""
    scripted.on("GET", hanging(head(200, content_length=9), b"abc"))
    download = await client(idle_timeout=SOON).blob("a", DIGEST)
    assert await download.read() == [b"abc"]
    await breaks(download.read(), "timeout")
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_silence_in_a_manifest(scripted: Scripted, client):
    """A manifest that stops is left as well."""
    scripted.on("GET", hanging(head(200, content_length=9), b"abc"))
    await breaks(client(idle_timeout=SOON).manifest("a", LATEST), "timeout")


async def test_a_manifest_by_the_byte(scripted: Scripted, client):
    """Whoever sends a byte now and then has no more time than others for a whole manifest."""

    def drip(exchange):
        exchange.send(head(200, content_length=1_000_000))
        while True:
            exchange.send(b" ")

    scripted.on("GET", drip)
    await breaks(client(response_timeout=SOON).manifest("a", LATEST), "timeout")
    await until(lambda: scripted.exchanges[0].ended.is_set())


@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",)])
async def test_a_connection_that_ends(scripted: Scripted, upstream: Upstream, pieces: tuple[bytes, ...]):
    """A connection that ends before the headers do is lost."""
    scripted.on("GET", raw(*pieces))
    await breaks(upstream.manifest("a", LATEST), "reset")


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x01\x00\x02\x02\x50 this is no HTTP\r\n\r\n",
        b"HTTP/1.1 okay\r\n\r\n",
        b"HTTP/x 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_answers_that_are_none(scripted: Scripted, upstream: Upstream, data: bytes):
    """What is no HTTP, or too much of it, is refused, and the connection closed."""
    scripted.on("GET", hanging(data))
    await breaks(upstream.manifest("a", LATEST), "malformed")
    await until(lambda: scripted.exchanges[0].ended.is_set())


@pytest.mark.parametrize("line", [b"X: y\r\n", b"\r\nHTTP/1.1 103 Early\r\n"])
async def test_headers_without_end(scripted: Scripted, upstream: Upstream, line: bytes):
    """Headers, or informational answers, that never end are left after some."""

    def reply(exchange):
        exchange.send(b"HTTP/1.1 103 Early\r\n")
        while True:
            exchange.send(line * 1000)

    scripted.on("GET", reply)
    await breaks(upstream.manifest("a", LATEST), "malformed")
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_many_headers(scripted: Scripted, upstream: Upstream):
    """Many headers are no fault, nor is a long body behind them."""
    scripted.on("GET", answer(200, b" " * 1_000_000, x=["y" * 100] * 500, docker_content_digest=DIGEST))
    for _ in range(2):
        assert (await upstream.manifest("a", LATEST)).digest == DIGEST
    assert scripted.connections == 1


async def test_a_connection_that_was_closed_meanwhile(scripted: Scripted, upstream: Upstream):
    """An upstream may close an idle connection: the request goes over a new one."""

    scripted.on("GET", raw(head(200, content_length=2), b"{}"), answer(200, b"[]"))
    assert (await upstream.manifest("a", LATEST)).content == b"{}"
    assert (await upstream.manifest("a", LATEST)).content == b"[]"
    assert scripted.connections == 2


async def test_a_caller_that_gives_up(scripted: Scripted, upstream: Upstream):
    """A request that nobody waits for any more is closed, and that is no failure of the upstream."""
    scripted.on("GET", hanging())
    pending = begin(upstream.manifest("a", LATEST))
    await until(lambda: scripted.exchanges)
    pending.cancel()
    with pytest.raises(CancelledError):
        await pending
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_a_caller_that_gives_up_in_a_manifest(scripted: Scripted, upstream: Upstream, observed: list):
    """The same in the middle of what it waits for."""
    scripted.on("GET", hanging(head(200, content_length=9), b"abc"))
    pending = begin(upstream.manifest("a", LATEST))
    await until(lambda: observed)
    pending.cancel()
    with pytest.raises(CancelledError):
        await pending
    await until(lambda: scripted.exchanges[0].ended.is_set())


async def test_a_refusal_without_end(scripted: Scripted, upstream: Upstream):
    """A refusal is told at once, however much the upstream would say about it; it does not say all of it."""

    def reply(exchange):
        exchange.send(head(404))
        while True:
            exchange.send(bytes(65536))

    scripted.on("GET", reply)
    with pytest.raises(NotThere):
        await upstream.manifest("a", LATEST)
    await until(lambda: scripted.exchanges[0].ended.is_set())
    assert scripted.exchanges[0].sent < 32 * 1024 * 1024  # what kernels hold is most of it


async def test_a_caller_that_gives_up_before_there_is_a_connection(scripted: Scripted, upstream: Upstream):
    """The same while it connects."""
    pending = begin(upstream.manifest("a", LATEST))
    pending.cancel()
    with pytest.raises(CancelledError):
        await pending


@pytest.mark.parametrize(
    "text, seconds",
    [("30", 30), ("0", 0), ("99999999999", 86_400), ("1.5", None), ("-3", None), ("soon", None), (None, None)],
)
async def test_retry_after(scripted: Scripted, upstream: Upstream, text: str | None, seconds: int | None):
    """A limited upstream says how long."""
    scripted.on("GET", answer(429, **({"retry_after": text} if text else {})))
    with pytest.raises(Limited) as raised:
        await upstream.manifest("a", LATEST)
    assert raised.value.retry_after == seconds


def test_retry_after_a_date():
    """A date counts from now, and one that is over means now."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 95 <= retry_after(later) <= 100
    assert retry_after(formatdate(0, usegmt=True)) == 0
    assert retry_after("Thu, 01 Jan 1970 00:00:00 -0000") == 0
    assert retry_after("Thu, 99 Jan 1970 00:00:00 GMT") is None


async def test_a_certificate_nobody_trusts(tls_scripted: Scripted, client):
    """No request goes to whom we cannot know."""
    error = await breaks(client(tls_scripted.url).manifest("a", LATEST), "tls")
    assert "certificate" in error.reason
    assert not tls_scripted.seen


async def test_no_tls_there(client):
    """Plain HTTP is no TLS."""

    def talk() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        talking = deferToThread(talk)
        await breaks(client(f"https://127.0.0.1:{server.getsockname()[1]}").manifest("a", LATEST), "tls")
        await talking


async def test_an_idle_connection_that_was_closed(
    tls_scripted: Scripted, tls_upstream: Upstream, tls_connections: Connections, lines: list[str]
):
    """When the time of an idle connection is over that the upstream has closed, it is only forgotten."""
    pool = tls_connections._pool
    pool.cachedConnectionTimeout = 0.5
    tls_scripted.on("GET", raw(head(200, content_length=2), b"{}"))
    await tls_upstream.manifest("a", LATEST)
    await until(lambda: not any(pool._connections.values()))
    assert not [line for line in lines if "timed call" in line]


async def test_tls(tls_scripted: Scripted, tls_upstream: Upstream):
    """Over TLS all is the same: streams, cuts, closing at once."""
    blob = bytes(1_000_000)
    tls_scripted.on("GET", answer(200, blob), raw(head(200, content_length=9), b"abc"), answer(200, blob * 64))
    assert await content(tls_upstream) == blob
    await breaks(whole(await tls_upstream.blob("team/app", DIGEST)), "cut")
    download = await tls_upstream.blob("team/app", DIGEST)
    await download.read()
    download.close()
    await until(lambda: tls_scripted.exchanges[2].ended.is_set())
    assert tls_scripted.exchanges[2].sent < 64 * len(blob)
