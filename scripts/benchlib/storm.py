"""Many small requests over connections that are kept alive."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import time
from collections.abc import Iterator

from benchlib.client import STALLED, BenchError

CONNECTIONS = 32


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


def wait(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    """Those on which something has come; BenchError when nothing does."""
    ready = selector.select(STALLED)
    if not ready:
        raise BenchError(f"nothing came for {STALLED} seconds")
    return ready


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
