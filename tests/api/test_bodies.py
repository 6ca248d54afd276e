"""Bodies that break off, that nobody wants, or that are chunked."""

from __future__ import annotations

import os

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, NAME, UPLOADS, eventually, head, send_part, staged, start
from tests.api.wire import has_arrived, open_with
from tests.client import Client, digest_of


def in_chunks(content: bytes) -> bytes:
    """The content with HTTP's chunked coding, without the end."""
    view = memoryview(content)
    parts = [view[at : at + MIB] for at in range(0, len(view), MIB)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


async def is_whole(client: Client, location: str, content: bytes) -> None:
    """The session can be finished, and the blob is this content."""
    digest = digest_of(content)
    assert (await client.request("PUT", f"{location}?digest={digest}")).status == 201
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).body == content


async def test_chunks_are_stored_while_they_arrive(client: Client, service: Artifactapi):
    """The store has the first 28 MiB of a chunked body before its last MiB is sent, and memory at most one."""
    location, content = await start(client), os.urandom(30 * MIB)
    request = head("PATCH", location, "Transfer-Encoding: chunked")
    connection = await open_with(client, request + in_chunks(content[: 29 * MIB]))
    await eventually(lambda: staged(service) and staged(service)[0].stat().st_size >= 28 * MIB)
    assert service.site.waiting.total <= MIB
    await deferToThread(connection.sendall, in_chunks(content[29 * MIB :]) + b"0\r\n\r\n")
    answer = await deferToThread(connection.recv, 1000)
    assert answer.startswith(b"HTTP/1.1 202")
    assert f"Range: 0-{len(content) - 1}\r\n".encode() in answer
    connection.close()
    await is_whole(client, location, content)


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["inline", "file"])
async def test_a_chunked_body_that_breaks_off(client: Client, size: int):
    """What arrived of a chunked body is kept, and the rest makes it whole."""
    location, content, half = await start(client), os.urandom(size), size // 2
    request = head("PATCH", location, "Transfer-Encoding: chunked")
    connection = await open_with(client, request + in_chunks(content[:half]))
    connection.close()
    await has_arrived(client, location, half)
    answer = await client.request("PATCH", location, content[half:], content_range=f"{half}-{size - 1}")
    assert answer.status == 202
    await is_whole(client, location, content)


async def test_a_body_that_does_not_come_is_not_awaited(client: Client, service: Artifactapi, monkeypatch):
    """After an early answer a client that sends no more is waited for only so long."""
    monkeypatch.setattr("artifactapi.api.site.DRAIN_SECONDS", 0.1)
    connection = await send_part(client, "POST", "/nothing", b"x", 1000)
    assert (await deferToThread(connection.recv, 12)) == b"HTTP/1.1 404"
    await eventually(lambda: not service.site.channels)
    connection.close()


@pytest.mark.parametrize(
    "method, path",
    [("PUT", f"/v2/{NAME}/manifests/v1"), ("POST", "/api/v1/repos"), ("PATCH", "/api/v1/repos/other")],
)
async def test_nobody_is_answered(client: Client, service: Artifactapi, log_text, method: str, path: str):
    """A client that hangs up in the middle of a body has no answer made for it, no timer, and no error in the log."""
    connection = await send_part(client, method, path, b"x" * 10, 100)
    await eventually(lambda: any(request.body.received for request in service.site.active))
    connection.close()
    await eventually(lambda: not service.site.active and not service.site.writing)
    assert "_abandon" not in [getattr(call.func, "__name__", "") for call in reactor.getDelayedCalls()]
    assert "Traceback" not in log_text.getvalue()
    assert " 499 0 " in log_text.getvalue()


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/repos"),
        ("DELETE", "/api/v1/repos/nowhere"),
        ("GET", f"/v2/{NAME}/tags/list"),
        ("POST", UPLOADS),
        ("DELETE", f"/v2/{NAME}/manifests/v1"),
    ],
)
async def test_a_body_nobody_wants_is_forgotten(client: Client, service: Artifactapi, method: str, path: str):
    """A body that no handler reads does not count as waiting once its request ended."""
    await client.request(method, path, b"x" * 1000)
    await eventually(lambda: not service.site.active)
    assert service.site.waiting.total == 0
