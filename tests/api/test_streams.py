"""Bodies while they travel: durable on the way, held back, cut off, answered early."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.registry.intake import ClientGone
from tests.client import Client, digest_of

NAME = "docker-internal/team/app"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
MIB = 1024 * 1024
PATIENCE = 30.0
RECEIVE_BUFFER = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[2])


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait while the reactor runs; fail if the condition does not come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.01)


def head(method: str, path: str, *headers: str) -> bytes:
    """The head of a request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def staged(service) -> list[Path]:
    """The files of unfinished uploads."""
    return [path for path in (service.config.data_dir / "staging").rglob("*") if path.is_file()]


def descriptors() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


async def start(client: Client) -> str:
    """A new session's location."""
    return (await client.request("POST", UPLOADS)).headers["Location"]


async def send_part(client: Client, method: str, path: str, content: bytes, announced: int) -> socket.socket:
    """A connection on which so many bytes were announced and only `content` was sent."""
    connection = await deferToThread(client.connect)
    await deferToThread(connection.sendall, head(method, path, f"Content-Length: {announced}") + content)
    return connection


async def test_bytes_are_stored_while_they_arrive(client: Client, service):
    """The store has the first bytes of a body before its last ones are sent."""
    location, content = await start(client), os.urandom(8 * MIB)
    connection = await send_part(client, "PATCH", location, content[:-1], len(content))
    await eventually(lambda: staged(service) and staged(service)[0].stat().st_size >= 7 * MIB)
    await deferToThread(connection.sendall, content[-1:])
    assert (await deferToThread(connection.recv, 100)).startswith(b"HTTP/1.1 202")
    connection.close()
    answer = await client.request("PUT", f"{location}?digest={digest_of(content)}")
    assert answer.status == 201


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["inline", "file"])
async def test_a_client_that_hangs_up_goes_on(client: Client, service, size: int):
    """What arrived before the connection broke is kept; the status tells how much, and the rest makes it whole."""
    location, content = await start(client), os.urandom(size)
    connection = await send_part(client, "PATCH", location, content[: size // 2], size)
    await eventually(lambda: service.site.active)
    connection.close()
    await eventually(lambda: not service.site.active)

    async def offset() -> int:
        status = await client.get(location)
        return int(status.headers["Range"].partition("-")[2]) + 1

    deadline = time.monotonic() + PATIENCE
    while (at := await offset()) != size // 2:
        assert time.monotonic() < deadline, at
    answer = await client.request("PATCH", location, content[at:], content_range=f"{at}-{size - 1}")
    assert answer.status == 202
    assert (await client.request("PUT", f"{location}?digest={digest_of(content)}")).status == 201
    assert (await client.get(f"/v2/{NAME}/blobs/{digest_of(content)}")).body == content


async def test_a_put_that_breaks_can_be_continued(client: Client, service):
    """A PUT whose connection breaks leaves the session as a PATCH would."""
    location, content = await start(client), os.urandom(2 * MIB)
    url = f"{location}?digest={digest_of(content)}"
    connection = await send_part(client, "PUT", url, content[:MIB], len(content))
    await eventually(lambda: staged(service))
    connection.close()
    deadline = time.monotonic() + PATIENCE
    while (await client.get(location)).headers["Range"] != f"0-{MIB - 1}":
        assert time.monotonic() < deadline
    answer = await client.request("PUT", url, content[MIB:], content_range=f"{MIB}-{2 * MIB - 1}")
    assert answer.status == 201


async def test_a_post_that_breaks_leaves_nothing(client: Client, service):
    """A whole blob in one POST that breaks leaves neither session nor file: nobody could go on with it."""
    content = os.urandom(2 * MIB)
    connection = await send_part(client, "POST", f"{UPLOADS}?digest={digest_of(content)}", content[:MIB], len(content))
    await eventually(lambda: staged(service))
    connection.close()
    await eventually(lambda: not staged(service))
    sessions = Deferred.fromCoroutine(service.registry.uploads.count())
    assert await sessions == 0


async def test_the_last_of_two_writers_has_the_session(client: Client):
    """A second writer takes the session over; the first gets 409 and none of its bytes are in the blob."""
    location, content = await start(client), os.urandom(2 * MIB)
    connection = await send_part(client, "PATCH", location, b"x" * MIB, 2 * MIB)
    await deferLater(reactor, 0)
    answer = await client.request("PATCH", location, content, content_range=f"0-{2 * MIB - 1}")
    assert answer.status == 202
    await deferToThread(connection.sendall, b"x" * MIB)
    assert (await deferToThread(connection.recv, 100)).startswith(b"HTTP/1.1 409")
    connection.close()
    assert (await client.request("PUT", f"{location}?digest={digest_of(content)}")).status == 201
    assert (await client.get(f"/v2/{NAME}/blobs/{digest_of(content)}")).body == content


async def test_back_pressure(client: Client, service, monkeypatch):
    """While the store takes nothing, the client's socket takes nothing either, and little waits in memory."""
    held: list[Deferred[None]] = []
    from artifactapi.objects.files import FileWriter

    real = FileWriter.write

    async def write(self: FileWriter, pieces) -> None:
        held.append(Deferred())
        await held[-1]
        await real(self, pieces)

    monkeypatch.setattr(FileWriter, "write", write)
    location, content = await start(client), bytes(128 * MIB)
    connection = await deferToThread(client.connect)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
    connection.setblocking(False)
    sent = send_all_it_takes(connection, head("PATCH", location, f"Content-Length: {len(content)}") + content)
    await eventually(lambda: held)
    while (more := send_all_it_takes(connection, content[sent:])) or not service.site.waiting.total:
        sent += more
        await deferLater(reactor, 0.05)
    # The kernel's buffers of both ends, one batch with the writer, and HIGH with the body.
    assert sent < 2 * MIB + RECEIVE_BUFFER + 12 * MIB
    assert service.site.waiting.total < 6 * MIB
    connection.close()
    monkeypatch.setattr(FileWriter, "write", real)
    for each in held:
        each.callback(None)
    await eventually(lambda: not service.site.writing)
    assert service.site.waiting.total == 0


def send_all_it_takes(connection: socket.socket, content: bytes) -> int:
    """Send until the socket takes no more; how many bytes."""
    view, sent = memoryview(content), 0
    try:
        while sent < len(content):
            sent += connection.send(view[sent : sent + MIB])
    except BlockingIOError:
        pass
    return sent


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("PATCH", f"{UPLOADS}00000000-0000-4000-8000-000000000000", b"404"),
        ("PUT", f"/v2/{NAME}/manifests/v1", b"413"),
        ("POST", "/v2/nowhere/app/blobs/uploads/?digest=" + digest_of(b""), b"404"),
        ("PATCH", "/healthz", b"405"),
        ("POST", "/nothing", b"404"),
    ],
)
async def test_an_answer_before_the_body_s_end(client: Client, method: str, path: str, status: bytes):
    """A client that still sends gets the answer at once, and may send on until it reads it."""
    connection = await send_part(client, method, path, b"x" * MIB, 16 * MIB)
    assert (await deferToThread(connection.recv, 12)) == b"HTTP/1.1 " + status
    await deferToThread(connection.sendall, b"x" * (15 * MIB))
    received = b""
    while more := await deferToThread(connection.recv, 65536):
        received += more
    assert b"Connection: close" in received
    assert b'{"errors":[' in received
    connection.close()


async def test_a_body_without_end_is_cut(client: Client, monkeypatch):
    """After an early answer no more than a bound is read, then the connection is cut."""
    monkeypatch.setattr("artifactapi.api.site.DRAIN_BYTES", 2 * MIB)
    connection = await send_part(client, "POST", "/nothing", b"x" * MIB, 1 << 40)

    def send_on() -> None:
        for _ in range(64):
            connection.sendall(b"x" * MIB)

    with pytest.raises(ConnectionError):
        await deferToThread(send_on)
    connection.close()


async def test_expect_100_continue(client: Client):
    """A client that asks first is told to go on."""
    location, content = await start(client), os.urandom(100_000)
    connection = await deferToThread(client.connect)
    asked = head("PATCH", location, f"Content-Length: {len(content)}", "Expect: 100-continue")
    await deferToThread(connection.sendall, asked)
    assert (await deferToThread(connection.recv, 100)).startswith(b"HTTP/1.1 100 ")
    await deferToThread(connection.sendall, content)
    assert (await deferToThread(connection.recv, 100)).startswith(b"HTTP/1.1 202")
    connection.close()


async def test_pipelined_requests(client: Client):
    """Requests that come together on one connection are answered in order; a body is not taken for the next."""
    content = os.urandom(70_000)
    digest = digest_of(content)
    requests = (
        head("POST", f"{UPLOADS}?digest={digest}", f"Content-Length: {len(content)}")
        + content
        + head("GET", f"/v2/{NAME}/blobs/{digest}")
        + head("HEAD", f"/v2/{NAME}/blobs/{digest}")
        + head("GET", "/healthz", "Connection: close")
    )
    answer = await deferToThread(client.raw, requests)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"201", b"200", b"200", b"200"]
    assert content in answer
    assert answer.endswith(b'{"status":"ok"}')


async def test_a_tls_hello_is_answered_at_once(client: Client):
    """docker tries TLS first: its ClientHello, which has no end of line, is answered and the connection closed."""
    hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(32, 122))
    answer = await deferToThread(client.raw, hello)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("size", [1000, 200_000, 8 * MIB], ids=["inline", "written", "sendfile"])
async def test_a_download_that_is_cut_leaks_nothing(client: Client, service, size: int):
    """A client that hangs up in a download leaves no file, no socket and no request behind."""
    digest = await client.push_blob(NAME, os.urandom(size))
    await eventually(lambda: not service.site.channels)
    before = descriptors()
    for _ in range(5):
        connection = await deferToThread(client.connect)
        await deferToThread(connection.sendall, head("GET", f"/v2/{NAME}/blobs/{digest}"))
        await deferToThread(connection.recv, 10)
        connection.close()
    await eventually(lambda: not service.site.active and not service.site.channels)
    await eventually(lambda: descriptors() <= before)


async def test_a_slow_reader_gets_every_byte(client: Client):
    """A client that reads in fits and starts gets the whole blob by sendfile."""
    content = os.urandom(24 * MIB)
    digest = await client.push_blob(NAME, content)
    connection = await deferToThread(client.connect)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    request = head("GET", f"/v2/{NAME}/blobs/{digest}", "Connection: close")
    await deferToThread(connection.sendall, request)
    received = []
    while more := await deferToThread(connection.recv, MIB):
        received.append(more)
        if len(received) % 50 == 1:
            await deferLater(reactor, 0.01)
    connection.close()
    assert b"".join(received).endswith(content)


async def test_a_client_that_takes_nothing_is_cut(client: Client, service, monkeypatch):
    """A download whose client takes nothing for STALL_SECONDS ends."""
    monkeypatch.setattr("artifactapi.api.downloads.STALL_SECONDS", 0.2)
    digest = await client.push_blob(NAME, os.urandom(32 * MIB))
    connection = await deferToThread(client.connect)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    await deferToThread(connection.sendall, head("GET", f"/v2/{NAME}/blobs/{digest}"))
    await eventually(lambda: service.site.active)
    await eventually(lambda: not service.site.active)
    connection.close()


async def test_a_file_that_is_too_short(client: Client, service):
    """An object whose file was damaged ends the connection; the client does not take it for whole."""
    content = os.urandom(2 * MIB)
    digest = await client.push_blob(NAME, content)
    [path] = [path for path in (service.config.data_dir / "objects").rglob("*") if path.is_file()]
    os.truncate(path, MIB)
    answer = await deferToThread(client.raw, head("GET", f"/v2/{NAME}/blobs/{digest}"))
    assert len(answer.partition(b"\r\n\r\n")[2]) <= MIB


async def test_a_file_that_is_gone(client: Client, service):
    """An object whose file is gone is our fault: 500 with the request's id, and no path."""
    digest = await client.push_blob(NAME, os.urandom(2 * MIB))
    [path] = [path for path in (service.config.data_dir / "objects").rglob("*") if path.is_file()]
    path.unlink()
    answer = await client.get(f"/v2/{NAME}/blobs/{digest}")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert answer.json["errors"][0]["detail"] == {"request": answer.headers["X-Request-Id"]}
    assert str(path.parent) not in answer.body.decode()


def test_client_gone_is_no_oci_error():
    """What nobody reads has no code."""
    assert not hasattr(ClientGone(), "code")
