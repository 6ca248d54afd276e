"""A client that costs little: answers are barely parsed, and their bodies stay in the socket."""

from __future__ import annotations

import http.client
import io
import json
import socket
from dataclasses import dataclass

NAME = "docker-internal/bench/app"
MIB = 1024 * 1024
STALLED = 600.0  # seconds without a byte after which a run is given up; the peer copies gigabytes in a final PUT


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


def request(
    port: int, method: str, target: str, body: bytes | None = None, kind: str = "", authorization: str = ""
) -> Answer:
    """One small request on a connection of its own; `kind` is the body's media type."""
    headers = {"Content-Type": kind, "Authorization": authorization}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STALLED)
    try:
        connection.request(method, target, body, {name: value for name, value in headers.items() if value})
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


def list_tags(port: int) -> int:
    """Read the whole tags list, page after page where the registry cuts it; how many there are."""
    target, count = f"/v2/{NAME}/tags/list", 0
    while target:
        answer = request(port, "GET", target).expect(200)
        count += len(json.loads(answer.body)["tags"])
        target = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
    return count
