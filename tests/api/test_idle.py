"""Clients that send nothing, or take nothing, or hang up before they have asked."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from artifactapi.api.channel import Channel
from artifactapi.config import Config
from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, NAME, eventually, head, send_part, start
from tests.api.wire import HeldWrites, has_arrived, open_with, read_all
from tests.client import Client, digest_of

HEADS = [b"", b"GET", b"GET /v2/ HTTP/1.1\r\n", b"PUT /v2/ HTTP/1.1\r\nContent-Length: 5\r\nHost:"]


@pytest.fixture
def config(config: Config) -> Config:
    """A daemon that waits a second for a client."""
    return replace(config, idle_timeout=1)


@pytest.mark.parametrize("part", HEADS)
async def test_a_head_that_breaks_off(client: Client, service: Artifactapi, log_text, part: bytes):
    """A client that hangs up before its request's head is whole leaves nothing, and no error in the log."""
    connection = await open_with(client, part)
    await eventually(lambda: service.site.channels)
    connection.close()
    await eventually(lambda: not service.site.channels)
    assert "Traceback" not in log_text.getvalue()
    assert not service.site.active


@pytest.mark.parametrize("part", [*HEADS, head("GET", "/healthz")])
async def test_who_sends_nothing_is_closed(client: Client, service: Artifactapi, log_text, part: bytes):
    """A connection on which no request comes for the idle time is closed, be it new, amid a head or kept alive."""
    await read_all(await open_with(client, part))
    await eventually(lambda: not service.site.channels)
    assert "Traceback" not in log_text.getvalue()


async def test_a_body_that_stops_is_closed(client: Client):
    """A client that stops in the middle of its body is closed, and what came of it is kept."""
    location = await start(client)
    connection = await send_part(client, "PATCH", location, b"x" * 1000, 2000)
    assert await read_all(connection) == b""
    await has_arrived(client, location, 1000)


async def test_who_is_held_is_not_closed(client: Client, monkeypatch):
    """A client that cannot send because the store is behind is not idle, however long it lasts."""
    passed, real = [], Channel.timeoutConnection
    monkeypatch.setattr(Channel, "timeoutConnection", lambda self: (real(self), passed.append(self)))
    held, content = HeldWrites(monkeypatch), os.urandom(16 * MIB)
    location = await start(client)
    answer = client.request("PATCH", location, content)
    await eventually(lambda: held.waiting and passed)
    held.let_go()
    assert (await answer).status == 202
    assert (await client.request("PUT", f"{location}?digest={digest_of(content)}")).status == 201


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept alive", "closed"])
async def test_who_takes_no_answer_is_cut(client: Client, service: Artifactapi, monkeypatch, headers: tuple[str, ...]):
    """A client that takes nothing of its answer is cut, though the server would keep, or close, the connection."""
    monkeypatch.setattr(Channel, "abortTimeout", 0.2)
    manifest = b"{}" + b" " * (4 * MIB - 2)
    assert (await client.put_manifest(NAME, "big", manifest, "a/b")).status == 201
    await eventually(lambda: not service.site.channels)
    connection = await open_with(client, head("GET", f"/v2/{NAME}/manifests/big", *headers) * 4, 4096)
    await eventually(lambda: any(channel.transport.dataBuffer for channel in service.site.channels))
    await eventually(lambda: not service.site.channels)
    connection.close()
