"""Just enough of HTTP and of Postgres's protocol to tell where a request and its answer begin and end."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class Gone(Exception):
    """The other side has closed the connection."""


@dataclass(frozen=True)
class Request:
    """What was asked: `PUT /bucket/key?partNumber=1`, or a statement; and all its bytes."""

    name: str
    data: bytes


class Wire(Protocol):
    """How to read one side of a connection and the other."""

    def request(self, client: BinaryIO, reply: BinaryIO) -> Request:
        """The next one. Raises Gone."""
        ...

    def answer(self, server: BinaryIO, request: Request) -> bytes:
        """All of it. Raises Gone."""
        ...


def exactly(stream: BinaryIO, size: int) -> bytes:
    """So many bytes. Raises Gone."""
    data = stream.read(size)
    if len(data) < size:
        raise Gone
    return data


class Http:
    """HTTP/1.1 between boto3 and an S3 server."""

    def request(self, client: BinaryIO, reply: BinaryIO) -> Request:
        """A request with its body, which boto3 sends when it is told to go on."""
        head = read_head(client)
        if header(head, b"expect"):
            reply.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            reply.flush()
        body = exactly(client, int(header(head, b"content-length") or 0))
        return Request(head.partition(b" HTTP/")[0].decode(), head + body)

    def answer(self, server: BinaryIO, request: Request) -> bytes:
        """An answer with its body."""
        head = read_head(server)
        while head.startswith(b"HTTP/1.1 100"):
            head = read_head(server)
        if request.name.startswith("HEAD") or head.split(b" ", 2)[1] in (b"204", b"304"):
            return head
        if header(head, b"transfer-encoding"):
            return head + chunks(server)
        return head + exactly(server, int(header(head, b"content-length") or 0))


def read_head(stream: BinaryIO) -> bytes:
    """The first line and the headers."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    raise Gone


def header(head: bytes, name: bytes) -> bytes | None:
    """A header's value."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def chunks(stream: BinaryIO) -> bytes:
    """A chunked body as it is on the wire."""
    body = b""
    while True:
        line = stream.readline()
        size = int(line or b"0", 16)
        body += line + exactly(stream, size + 2)
        if not size:
            return body


class Postgres:
    """The simple protocol, without TLS: what psycopg2 speaks over a unix socket. One for each connection."""

    def __init__(self) -> None:
        self._started = False

    def request(self, client: BinaryIO, reply: BinaryIO) -> Request:
        """A statement; first of all, the start of the session."""
        kind = exactly(client, 1) if self._started else b""
        self._started = True
        length = exactly(client, 4)
        body = exactly(client, struct.unpack("!I", length)[0] - 4)
        if kind == b"X":
            raise Gone
        return Request(body.rstrip(b"\0").decode("utf-8", "replace") if kind == b"Q" else "", kind + length + body)

    def answer(self, server: BinaryIO, request: Request) -> bytes:
        """Messages until the server is ready for the next statement."""
        messages = b""
        while True:
            kind, length = exactly(server, 1), exactly(server, 4)
            messages += kind + length + exactly(server, struct.unpack("!I", length)[0] - 4)
            if kind == b"Z":
                return messages
