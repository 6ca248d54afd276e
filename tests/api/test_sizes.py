"""More bytes than there may be: in heads, in blobs, and in bodies where none is wanted."""

from __future__ import annotations

import json
import os
import re
import select
from contextlib import suppress
from dataclasses import replace

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.api import channel
from artifactapi.config import Config
from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, NAME, UPLOADS, eventually, head, send_part, staged, start
from tests.api.wire import open_with, read_all
from tests.client import Answer, Client, digest_of

HEAD = 4096
LARGEST = 100_000


@pytest.fixture
def config(config: Config) -> Config:
    """A daemon with small bounds."""
    return replace(config, max_header_size=HEAD, max_blob_size=LARGEST)


# Heads


def is_too_large(answer: bytes) -> bool:
    """431 in the OCI form, and the last answer of its connection."""
    top, _, body = answer.partition(b"\r\n\r\n")
    said = top.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n") and b"Connection: close" in top
    return said and json.loads(body)["errors"][0]["code"] == "HEADERS_TOO_LARGE"


def sized(size: int, *lines: str) -> bytes:
    """A head of so many bytes, its line ends left out, with one long header."""
    short = ["GET /v2/ HTTP/1.1", "Connection: close", *lines, "X-Long: "]
    return "\r\n".join((*short, "")).encode()[:-2] + b"x" * (size - sum(map(len, short))) + b"\r\n\r\n"


async def test_the_size_of_a_head(client: Client):
    """--max-header-size bytes are taken, be it in one header; one more is 431."""
    assert (await read_all(await open_with(client, sized(HEAD)))).startswith(b"HTTP/1.1 200 ")
    assert is_too_large(await read_all(await open_with(client, sized(HEAD + 1))))
    assert is_too_large(await read_all(await open_with(client, sized(HEAD + 1, f"X: {'x' * 1000}"))))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nX: a\r\n" + b" folded\r\n" * 1000,
        b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 600 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    ],
    ids=["line", "header", "folded", "count", "flood"],
)
async def test_a_head_that_is_too_large(client: Client, service: Artifactapi, log_text, data: bytes):
    """It is 431 in JSON, which its client can read though it sent much more."""
    assert is_too_large(await read_all(await open_with(client, data)))
    await eventually(lambda: not service.site.channels)
    assert not service.site.active
    assert "Traceback" not in log_text.getvalue()


async def test_who_sends_on_reads_why(client: Client):
    """A client that reads only when all is sent, much more than fits on the way, reads 431 as well."""
    assert is_too_large(await read_all(await open_with(client, sized(HEAD + 1) + b"x" * (32 * MIB))))


async def test_who_does_not_read_why(client: Client, service: Artifactapi, monkeypatch):
    """A client that stays after its 431, and sends on, is cut."""
    monkeypatch.setattr(channel, "LINGER_SECONDS", 0.1)
    connection = await open_with(client, sized(HEAD + 1))

    def send_on() -> None:
        while True:
            connection.sendall(b"x" * 100)

    with pytest.raises(ConnectionError):
        await deferToThread(send_on)
    connection.close()
    await eventually(lambda: not service.site.channels)


# Blobs


async def is_refused(client: Client, service: Artifactapi, answer: Answer, location: str | None = None) -> None:
    """413 in the OCI form, and nothing is left of the upload."""
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert str(LARGEST) in answer.json["errors"][0]["message"]
    if location is not None:
        assert (await client.get(location)).code == "BLOB_UPLOAD_UNKNOWN"
    assert await service.registry.uploads.count() == 0
    await eventually(lambda: not staged(service) and not service.site.waiting.total)


def as_sent(content: bytes, announced: bool):
    """The body with its length, or in HTTP's chunks."""
    return content if announced else iter([content[:50_000], content[50_000:]])


@pytest.mark.parametrize("announced", [True, False])
async def test_a_blob_in_one_request(client: Client, service: Artifactapi, announced: bool):
    """--max-blob-size bytes are taken, one more is 413: POST alone, and PUT."""
    for size in (LARGEST, LARGEST + 1):
        content = os.urandom(size)
        url = f"{UPLOADS}?digest={digest_of(content)}"
        pushed = await client.request("POST", url, as_sent(content, announced))
        location = await start(client)
        put = await client.request("PUT", f"{location}?digest={digest_of(content)}", as_sent(content, announced))
        if size == LARGEST:
            assert (pushed.status, put.status) == (201, 201)
        else:
            await is_refused(client, service, put, location)
            assert pushed.status == 413


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_blob_in_several_requests(client: Client, service: Artifactapi, method: str, announced: bool):
    """What came before counts: the request that goes beyond is 413, and the upload is over."""
    content = os.urandom(LARGEST + 1)
    location = await start(client)
    assert (await client.request("PATCH", location, content[:40_000])).status == 202
    url = f"{location}?digest={digest_of(content)}"
    await is_refused(client, service, await client.request(method, url, as_sent(content[40_000:], announced)), location)


async def test_a_chunk_that_goes_beyond(client: Client, service: Artifactapi):
    """A chunk with its place, too; up to the bound it is taken."""
    content, location = os.urandom(LARGEST), await start(client)
    chunk = f"0-{LARGEST - 1}"
    assert (await client.request("PATCH", location, content, content_range=chunk)).status == 202
    answer = await client.request("PATCH", location, b"x", content_range=f"{LARGEST}-{LARGEST}")
    await is_refused(client, service, answer, location)


async def test_a_length_that_is_too_large(client: Client, service: Artifactapi):
    """What is announced is refused before it comes."""
    location = await start(client)
    connection = await send_part(client, "PATCH", location, b"", LARGEST + 1)
    assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 413 ")
    connection.close()
    assert (await client.get(location)).status == 404


async def test_a_stream_that_is_too_large(client: Client, service: Artifactapi):
    """What is not announced is refused when it comes, not at its end."""
    location = await start(client)
    data = b"%x\r\n%s\r\n" % (LARGEST + 1, b"x" * (LARGEST + 1))
    connection = await open_with(client, head("PATCH", location, "Transfer-Encoding: chunked") + data)
    assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 413 ")
    connection.close()
    await eventually(lambda: not service.site.active and not staged(service))
    assert (await client.get(location)).status == 404


# Bodies without end

PATHS = {
    "uploads": UPLOADS,
    "upload": f"{UPLOADS}00000000-0000-4000-8000-000000000000",
    "blob": f"/v2/{NAME}/blobs/{digest_of(b'')}",
    "manifest": f"/v2/{NAME}/manifests/v1",
    "tags": f"/v2/{NAME}/tags/list",
    "referrers": f"/v2/{NAME}/referrers/{digest_of(b'')}",
    "catalog": "/v2/_catalog",
    "base": "/v2/",
}


def routes(service: Artifactapi) -> list[tuple[str, str]]:
    """Every route with every method."""
    known = [(kind, method.decode()) for kind, methods in service.v2.routes.items() for method in methods]
    return known + [(endpoint.path, method) for endpoint in service.endpoints for method in endpoint.methods]


async def test_bodies_without_end(client: Client, service: Artifactapi, log_text, monkeypatch):
    """No address waits for the end of one: each gives an answer, and reads up to a bound."""
    monkeypatch.setattr("artifactapi.api.site.DRAIN_BYTES", 8 * MIB)

    def send_without_end(request: bytes) -> bytes:
        answer = b""
        with client.connect() as connection, suppress(ConnectionError):
            connection.sendall(request)
            while True:
                connection.sendall(b"100000\r\n" + b" " * MIB + b"\r\n")
                if not answer and select.select([connection], [], [], 0.1)[0]:
                    answer = connection.recv(20)
        return answer

    for route, method in routes(service):
        path = PATHS.get(route) or re.sub("<[^>]*>", "nowhere", route)
        answer = await deferToThread(send_without_end, head(method, path, "Transfer-Encoding: chunked"))
        assert answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (method, path)
    await eventually(lambda: not service.site.channels)
    assert service.site.waiting.total == 0
    assert "Traceback" not in log_text.getvalue()
