"""Clients that take their time with a request's head or body. A second passes when the site is told so."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.api.body import WINDOW_SECONDS
from artifactapi.config import Config
from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, NAME, UPLOADS, eventually, head, send_part, staged, start
from tests.api.wire import HeldWrites, has_arrived, open_with, read_all
from tests.client import Client, digest_of

HEADS = [b"G", b"GET /v2/ HTTP/1.1\r\n", b"PUT /v2/ HTTP/1.1\r\nContent-Length: 5\r\nHost:", b"\r\nGET"]
RATE = 128


@pytest.fixture
def config(config: Config, monkeypatch) -> Config:
    """A daemon whose own seconds do not pass during a test."""
    monkeypatch.setattr("artifactapi.api.site.TICK_SECONDS", 3600)
    return config


def let_pass(service: Artifactapi, seconds: int) -> None:
    """So many seconds pass for all connections."""
    for _ in range(seconds):
        service.site.tick()


async def received(service: Artifactapi, size: int) -> None:
    """Wait until so much of a body is here."""
    await eventually(lambda: any(request.body.received == size for request in service.site.active))


def is_timeout(answer: bytes) -> bool:
    """408 in the OCI form, and the last answer of its connection."""
    top, _, body = answer.partition(b"\r\n\r\n")
    said = top.startswith(b"HTTP/1.1 408 Request Time") and b"Connection: close" in top
    return said and json.loads(body)["errors"][0]["code"] == "REQUEST_TIMEOUT"


# Heads


@pytest.mark.parametrize("part", HEADS)
async def test_a_head_that_is_not_whole_in_time(client: Client, service: Artifactapi, log_text, part: bytes):
    """It gets 408 after --header-timeout, not before, and is closed."""
    connection = await open_with(client, part)
    await eventually(lambda: any(each.requests or each._buffer for each in service.site.channels))
    let_pass(service, 29)
    [channel] = service.site.channels
    assert not channel._refused
    let_pass(service, 1)
    assert is_timeout(await read_all(connection))
    await eventually(lambda: not service.site.channels)
    assert "Traceback" not in log_text.getvalue()


async def test_a_head_that_trickles(client: Client, service: Artifactapi):
    """A byte now and then does not keep a head alive."""
    connection = await open_with(client, b"GET /v2/ HTTP/1.1\r\n")
    for _ in range(30):
        await deferToThread(connection.sendall, b"X")
        await deferLater(reactor, 0.001)
        let_pass(service, 1)
    assert is_timeout(await read_all(connection))


async def test_heads_that_come_in_time(client: Client, service: Artifactapi):
    """On one connection the time of each head is its own, and between two requests no head is awaited."""
    connection, request = await open_with(client, b""), head("GET", "/v2/")
    for _ in range(4):
        await deferToThread(connection.sendall, request[:10])
        await eventually(lambda: any(channel._buffer for channel in service.site.channels))
        let_pass(service, 20)
        await deferToThread(connection.sendall, request[10:])
        assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 200")
        let_pass(service, 100)
    connection.close()


async def test_an_empty_line_is_no_head(client: Client, service: Artifactapi):
    """What old clients send after a POST begins no request."""
    connection = await open_with(client, head("POST", "/api/v1/repos", "Content-Length: 2") + b"{}\r\n")
    assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 400")
    let_pass(service, 100)
    await deferToThread(connection.sendall, head("GET", "/v2/", "Connection: close"))
    assert (await read_all(connection)).startswith(b"HTTP/1.1 200")


class TestTheSecondsPass:
    """The site's own clock."""

    @pytest.fixture
    def config(self, config: Config, monkeypatch) -> Config:
        """A daemon whose seconds are short, for a head of two of them."""
        monkeypatch.setattr("artifactapi.api.site.TICK_SECONDS", 0.01)
        return replace(config, header_timeout=2)

    async def test_they_do(self, client: Client):
        """Nobody has to tell the site."""
        assert is_timeout(await read_all(await open_with(client, b"GET")))

    async def test_one_that_cannot_be_looked_after(self, client: Client, service: Artifactapi, log_text, monkeypatch):
        """An error with one connection is logged, and is not in the way of the others."""

        def fail() -> None:
            raise ValueError("this one")

        bad = await open_with(client, b"")
        await eventually(lambda: service.site.channels)
        monkeypatch.setattr(next(iter(service.site.channels)), "tick", fail)
        assert is_timeout(await read_all(await open_with(client, b"GET")))
        assert "this one" in log_text.getvalue()
        bad.close()


# Bodies


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["inline", "file"])
async def test_an_upload_that_trickles(client: Client, service: Artifactapi, log_text, method: str, size: int):
    """It gets 408; what came of it is kept, the session's status tells how much, and the rest makes it whole."""
    location, content = await start(client), os.urandom(2 * size)
    url = f"{location}?digest={digest_of(content)}"
    connection = await send_part(client, method, url, content[:size], len(content))
    await received(service, size)
    let_pass(service, 2 * WINDOW_SECONDS)
    assert is_timeout(await deferToThread(connection.recv, 1000))
    assert (await client.get(location)).headers["Range"] == f"0-{size - 1}"
    connection.close()
    answer = await client.request("PUT", url, content[size:], content_range=f"{size}-{2 * size - 1}")
    assert answer.status == 201
    assert (await client.get(f"/v2/{NAME}/blobs/{digest_of(content)}")).body == content
    assert " 408 " in log_text.getvalue()
    assert "Traceback" not in log_text.getvalue()


async def test_a_push_in_one_request_that_trickles(client: Client, service: Artifactapi):
    """It gets 408 and leaves neither session nor file: nobody could go on with it."""
    content = os.urandom(2 * MIB)
    connection = await send_part(client, "POST", f"{UPLOADS}?digest={digest_of(content)}", content[:MIB], len(content))
    await received(service, MIB)
    let_pass(service, 2 * WINDOW_SECONDS)
    assert is_timeout(await deferToThread(connection.recv, 1000))
    connection.close()
    assert not staged(service)
    assert await service.registry.uploads.count() == 0


@pytest.mark.parametrize(
    "method, path",
    [("PUT", f"/v2/{NAME}/manifests/v1"), ("POST", "/api/v1/repos"), ("PATCH", "/api/v1/repos/other")],
)
async def test_a_document_that_trickles(client: Client, service: Artifactapi, log_text, method: str, path: str):
    """It gets 408, and its connection is not waited for."""
    connection = await send_part(client, method, path, b"{", 100)
    await received(service, 1)
    let_pass(service, WINDOW_SECONDS)
    assert is_timeout(await deferToThread(connection.recv, 1000))
    connection.close()
    await eventually(lambda: not service.site.active and not service.site.channels)
    assert "Traceback" not in log_text.getvalue()


async def test_a_body_that_is_given_up_and_goes_on(client: Client, service: Artifactapi, monkeypatch):
    """Who sends on after its 408 is cut after a while, and has added nothing."""
    monkeypatch.setattr("artifactapi.api.site.DRAIN_SECONDS", 0.1)
    location = await start(client)
    connection = await send_part(client, "PATCH", location, b"x" * 1000, 100_000)
    await received(service, 1000)
    let_pass(service, WINDOW_SECONDS)
    assert is_timeout(await deferToThread(connection.recv, 1000))
    await deferToThread(connection.sendall, b"x" * 1000)
    await eventually(lambda: not service.site.channels)
    connection.close()
    assert (await client.get(location)).headers["Range"] == "0-999"


async def test_a_client_that_hangs_up_before_its_408(client: Client, service: Artifactapi, log_text, monkeypatch):
    """It is a client that hung up: what came is kept, and nobody is answered."""
    held, location = HeldWrites(monkeypatch), await start(client)
    connection = await send_part(client, "PATCH", location, b"x" * MIB, 2 * MIB)
    await eventually(lambda: held.waiting)
    await received(service, MIB)
    let_pass(service, 2 * WINDOW_SECONDS)
    connection.close()
    await eventually(lambda: not service.site.channels)
    held.let_go()
    await has_arrived(client, location, MIB)
    await eventually(lambda: not service.site.writing)
    assert "Traceback" not in log_text.getvalue()


async def test_who_is_held_is_not_slow(client: Client, service: Artifactapi, monkeypatch):
    """Time in which the server takes nothing is not the client's."""
    held, content, location = HeldWrites(monkeypatch), os.urandom(16 * MIB), await start(client)
    answer = client.request("PATCH", location, content)
    await eventually(lambda: held.waiting and any(request.is_held() for request in service.site.active))
    let_pass(service, 10 * WINDOW_SECONDS)
    held.let_go()
    assert (await answer).status == 202
    assert (await client.request("PUT", f"{location}?digest={digest_of(content)}")).status == 201


async def test_a_body_that_is_fast_enough(client: Client, service: Artifactapi):
    """The lowest rate there may be, minute after minute."""
    location, size = await start(client), RATE * WINDOW_SECONDS
    connection = await send_part(client, "PATCH", location, b"", 4 * size)
    for number in range(4):
        await deferToThread(connection.sendall, b"x" * size)
        if number < 3:
            await received(service, (number + 1) * size)
        let_pass(service, WINDOW_SECONDS)
    assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 202 ")
    connection.close()


async def test_an_answer_is_not_cut_for_its_request_s_body(client: Client, service: Artifactapi):
    """A download whose request never ends is the client's own time."""
    content = os.urandom(32 * MIB)
    digest = await client.push_blob(NAME, content)
    request = head("GET", f"/v2/{NAME}/blobs/{digest}", "Content-Length: 9", "Connection: close")
    connection = await open_with(client, request, 65536)
    await eventually(lambda: any(request.startedWriting for request in service.site.active))
    let_pass(service, 10 * WINDOW_SECONDS)
    await deferToThread(connection.sendall, b"123456789")
    assert (await read_all(connection)).endswith(content)


class TestAnyRate:
    """--min-body-rate 0."""

    @pytest.fixture
    def config(self, config: Config) -> Any:
        """A daemon for very patient people."""
        return replace(config, min_body_rate=0)

    async def test_a_body_may_take_for_ever(self, client: Client, service: Artifactapi):
        """No rate is too low."""
        connection = await send_part(client, "PATCH", await start(client), b"x", 2)
        await received(service, 1)
        let_pass(service, 10 * WINDOW_SECONDS)
        await deferToThread(connection.sendall, b"x")
        assert (await deferToThread(connection.recv, 1000)).startswith(b"HTTP/1.1 202 ")
        connection.close()
