"""A client that costs little: bodies leave by sendfile and arrive in one buffer, answers are barely parsed."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import itertools
import json
import pathlib
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

NAME = "docker-internal/bench/app"
MIB = 1024 * 1024
STALLED = 120.0  # seconds without a byte after which a run is given up
CONNECTIONS = 32


class BenchError(Exception):
    """A measurement that cannot go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a request: `length` is that of the body, which may still be in the socket."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = b""

    @property
    def length(self) -> int:
        return int(self.headers["Content-Length"])

    @property
    def target(self) -> str:
        """The Location as a request target, whether the registry sends it absolute or relative."""
        location: str = self.headers["Location"]
        return location if location.startswith("/") else "/" + location.split("/", 3)[3]

    def expect(self, status: int) -> Answer:
        if self.status != status:
            raise BenchError(f"expected {status}, got {self.status}: {self.body[:300]!r}")
        return self


def request(port: int, method: str, target: str, body: bytes | None = None, kind: str = "") -> Answer:
    """One small request on a connection of its own; `kind` is the body's media type."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STALLED)
    try:
        connection.request(method, target, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def connect(port: int, method: str, target: str, *headers: str) -> socket.socket:
    """A connection on which the head of a request is sent."""
    connection = socket.create_connection(("127.0.0.1", port), STALLED)
    connection.sendall(head_of(port, method, target, *headers))
    return connection


def head_of(port: int, method: str, target: str, *headers: str) -> bytes:
    lines = (f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", "")
    return "\r\n".join(lines).encode()


def read_head(connection: socket.socket) -> Answer:
    """Take the answer's head off the socket, and nothing of its body."""
    head = b""
    while b"\r\n\r\n" not in head:
        head = connection.recv(len(head) + 4096, socket.MSG_PEEK)
        if not head:
            raise BenchError("the registry hung up")
    size = head.index(b"\r\n\r\n") + 4
    line, _, rest = connection.recv(size).partition(b"\r\n")
    return Answer(int(line.split()[1]), http.client.parse_headers(io.BytesIO(rest)))


def push(port: int, path: pathlib.Path, digest: str, *, chunked: bool = False) -> None:
    """Push a file as a client does: POST, one streamed PATCH, PUT."""
    send = send_chunked if chunked else send_whole
    started = request(port, "POST", f"/v2/{NAME}/blobs/uploads/").expect(202)
    appended = send(port, started.target, path).expect(202)
    request(port, "PUT", with_digest(appended.target, digest)).expect(201)


def with_digest(target: str, digest: str) -> str:
    return f"{target}{'&' if '?' in target else '?'}digest={digest}"


def send_whole(port: int, target: str, path: pathlib.Path) -> Answer:
    """The PATCH with a Content-Length, its body by sendfile."""
    length = f"Content-Length: {path.stat().st_size}"
    with connect(port, "PATCH", target, length) as connection, path.open("rb") as source:
        connection.sendfile(source)
        return read_head(connection)


def send_chunked(port: int, target: str, path: pathlib.Path) -> Answer:
    """The PATCH in chunks of 32 KiB, which is how docker and podman send a layer."""
    chunked = "Transfer-Encoding: chunked"
    with connect(port, "PATCH", target, chunked) as connection, path.open("rb") as source:
        for data in iter(lambda: source.read(32 * 1024), b""):
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        connection.sendall(b"0\r\n\r\n")
        return read_head(connection)


def push_bytes(port: int, data: bytes) -> str:
    """Push a small blob in one PUT; its digest."""
    digest = digest_of(data)
    started = request(port, "POST", f"/v2/{NAME}/blobs/uploads/").expect(202)
    request(port, "PUT", with_digest(started.target, digest), data, "application/octet-stream").expect(201)
    return digest


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pull(port: int, digest: str, times: int = 1) -> None:
    """Pull a blob over so many connections at once, and drop what comes."""
    buffer = bytearray(MIB)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for _ in range(times):
            connection = stack.enter_context(connect(port, "GET", f"/v2/{NAME}/blobs/{digest}"))
            selector.register(connection, selectors.EVENT_READ, [read_head(connection).expect(200).length])
        while selector.get_map():
            for key, _ in wait(selector):
                assert isinstance(key.fileobj, socket.socket)
                received = key.fileobj.recv_into(buffer)
                key.data[0] -= received
                if not received or not key.data[0]:
                    selector.unregister(key.fileobj)
                if not received and key.data[0]:
                    raise BenchError(f"pull: {key.data[0]} bytes are missing")


def wait(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    ready = selector.select(STALLED)
    if not ready:
        raise BenchError(f"nothing came for {STALLED} seconds")
    return ready


def storm(port: int, requests: Iterator[bytes], status: int) -> float:
    """Send the requests over 32 connections kept alive, each waiting for its answer; answers a second."""
    answered, began = 0, time.monotonic()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for first in itertools.islice(requests, CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), STALLED))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, Exchange(connection, first))
        while selector.get_map():
            for key, _ in wait(selector):
                if not key.data.complete(status):
                    continue
                answered += 1
                following = next(requests, None)
                if following is None:
                    selector.unregister(key.fileobj)
                else:
                    key.data.send(following)
    return answered / (time.monotonic() - began)


class Exchange:
    """One request after the other on one connection."""

    __slots__ = ("connection", "received", "sent")

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self.connection = connection
        self.send(first)

    def send(self, data: bytes) -> None:
        self.sent, self.received = data, b""
        self.connection.sendall(data)

    def complete(self, status: int) -> bool:
        """Receive what is there; whether the answer is whole. BenchError when it is not the expected one."""
        data = self.connection.recv(64 * 1024)
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not data or (end and not head.startswith(b"HTTP/1.1 %d" % status)):
            raise BenchError(f"expected {status}, got {self.received[:500]!r}")
        return bool(end) and (self.sent.startswith(b"HEAD") or len(body) >= length_in(head))


def length_in(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])


def list_tags(port: int) -> int:
    """Read the whole tags list, page after page where the registry cuts it; how many there are."""
    target, count = f"/v2/{NAME}/tags/list", 0
    while target:
        answer = request(port, "GET", target).expect(200)
        count += len(json.loads(answer.body)["tags"])
        target = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
    return count
