"""More connections than there may be."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource

from artifactapi.api import channel
from artifactapi.api.limits import Limits
from artifactapi.api.site import Site
from artifactapi.config import Config
from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, UPLOADS, eventually, head
from tests.api.wire import open_with, read_all
from tests.client import Answer, Client, digest_of

BOUND = 2


@pytest.fixture
def config(config: Config, monkeypatch) -> Config:
    """A daemon for two connections, whose seconds pass when a test says so."""
    monkeypatch.setattr("artifactapi.api.site.TICK_SECONDS", 3600)
    return replace(config, max_connections=BOUND)


@pytest_twisted.async_yield_fixture
async def held(client: Client, service: Artifactapi) -> AsyncIterator[list[socket.socket]]:
    """As many connections as there may be, all idle."""
    connections = [await open_with(client, b"") for _ in range(BOUND)]
    await eventually(lambda: len(service.site.channels) == BOUND)
    yield connections
    for connection in connections:
        connection.close()


def is_refused(answer: Answer) -> bool:
    """503, when to come again, in the OCI form."""
    return (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")


@pytest.mark.parametrize(
    "method, path", [("GET", "/v2/"), ("GET", "/metrics"), ("POST", UPLOADS), ("GET", "/healthz/x")]
)
async def test_one_beyond_the_bound(client: Client, service: Artifactapi, held, method: str, path: str):
    """It is told 503 and closed; those that were there before are served as ever, and so is the next when one goes."""
    answer = await client.request(method, path)
    assert is_refused(answer)
    assert (answer.headers["Connection"], answer.headers["Content-Type"]) == ("close", "application/json")
    await deferToThread(held[0].sendall, head("GET", "/v2/"))
    assert (await deferToThread(held[0].recv, 1000)).startswith(b"HTTP/1.1 200 ")
    held[0].close()
    await eventually(lambda: len(service.site.channels) < BOUND)
    assert (await client.get("/v2/")).status == 200


async def test_a_body_beyond_the_bound(client: Client, service: Artifactapi, held):
    """A client that sends much gets its 503 all the same, and nothing of the body stays."""
    content = bytes(8 * MIB)
    answer = await client.request("POST", f"{UPLOADS}?digest={digest_of(content)}", content)
    assert is_refused(answer)
    await eventually(lambda: not service.site.active)
    assert service.site.waiting.total == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes(client: Client, held, path: str):
    """An orchestrator's probes are answered as ever: a process that is full is neither dead nor unready."""
    answer = await client.get(path)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_a_burst_that_passes(client: Client, service: Artifactapi, held):
    """Who came when it was full, and asks when it is no longer, is served."""
    connection = await open_with(client, b"")
    await eventually(lambda: len(service.site.channels) > BOUND)
    held[0].close()
    await eventually(lambda: len(service.site.channels) == BOUND)
    await deferToThread(connection.sendall, head("GET", "/v2/"))
    assert (await read_all(connection)).startswith(b"HTTP/1.1 200 ")


async def test_who_says_nothing_beyond_the_bound(client: Client, service: Artifactapi, held):
    """It has some seconds to ask, and is closed; those within the bound may be idle for longer."""
    connection = await open_with(client, b"")
    await eventually(lambda: len(service.site.channels) > BOUND)
    for _ in range(channel.SURPLUS_SECONDS):
        service.site.tick()
    assert (await read_all(connection)).startswith(b"HTTP/1.1 408 ")
    await eventually(lambda: len(service.site.channels) == BOUND)


async def test_many_beyond_the_bound(client: Client, service: Artifactapi, log_text, held, monkeypatch):
    """When many are beyond it, the next is told so before it has asked for anything; the log says how many."""
    monkeypatch.setattr(channel, "SURPLUS", 1)
    surplus = await open_with(client, b"")
    await eventually(lambda: len(service.site.channels) > BOUND)
    for _ in range(3):
        top, _, body = (await read_all(await open_with(client, b""))).partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5" in top
        assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
    assert len(service.site.channels) == BOUND + 1
    surplus.close()
    service.site.tick()
    service.site.tick()
    assert log_text.getvalue().count("3 connections turned away") == 1
    assert "Traceback" not in log_text.getvalue()


def connect(site: Site) -> StringTransport:
    """A connection whose transport is not plain TCP, as TLS's is not."""
    transport = StringTransport()
    site.buildProtocol(None).makeConnection(transport)
    return transport


def test_many_beyond_the_bound_with_tls(monkeypatch):
    """They are cut: to tell them would take a handshake each."""
    monkeypatch.setattr(channel, "SURPLUS", 0)
    site = Site(Resource(), None, Clock(), Limits(connections=1))
    first, second = connect(site), connect(site)
    assert (first.disconnected, second.disconnected) == (False, True)
    assert second.value() == b""


def test_no_bound():
    """Without a bound none is beyond it."""
    site = Site(Resource(), None, Clock(), Limits(connections=0))
    transports = [connect(site) for _ in range(3)]
    assert not any(each.surplus for each in site.channels)
    assert not site.is_over()
    assert len(site.channels) == len(transports)
