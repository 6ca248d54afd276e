"""Pulls of a blob: all of it, or as far as it comes."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tests.client import Client


@dataclass(frozen=True)
class Pull:
    """What came: the head of the answer, the body so far, and whether that is as long as was announced."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def whole(self) -> bool:
        """Whether all has come that was announced."""
        return len(self.body) == int(self.headers["content-length"])


def pull(client: Client, path: str, **headers: str) -> Pull:
    """A GET, until the end or until the connection is cut, which may be before any answer; blocking."""
    with client.connect() as connection:
        connection.settimeout(60)
        try:
            received = asked(connection, path, **headers)
        except ConnectionResetError:
            return Pull(0, {"content-length": "-1"}, b"")
        return ended(received, connection)


def asked(connection: socket.socket, path: str, **headers: str) -> bytes:
    """Ask for it; the head of the answer, and what came with it. Raises ConnectionResetError without an answer."""
    lines = [f"GET {path} HTTP/1.1", "Host: test", "Connection: close", *(f"{k}: {v}" for k, v in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            raise ConnectionResetError
        received += more
    return received


def ended(received: bytes, connection: socket.socket) -> Pull:
    """All that comes after what was received."""
    pieces = [received]
    try:
        while more := connection.recv(1 << 20):
            pieces.append(more)
    except ConnectionResetError:
        pass
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Pull(int(status.split()[1]), headers, body)
