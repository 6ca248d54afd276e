"""Connections by hand, and what holds up the threads behind them."""

from __future__ import annotations

import os
import socket
import time
from threading import Event
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from artifactapi.objects.files import FileWriter
from tests.api.test_streams import MIB, PATIENCE
from tests.client import Client


async def open_with(client: Client, data: bytes, receive_buffer: int = 0) -> socket.socket:
    """A connection on which this was sent; `receive_buffer` is how little of an answer its kernel shall keep."""
    connection = await deferToThread(client.connect)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await deferToThread(connection.sendall, data)
    return connection


async def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = []
    with connection:
        while more := await deferToThread(connection.recv, MIB):
            received.append(more)
    return b"".join(received)


async def has_arrived(client: Client, location: str, size: int) -> None:
    """Wait until a session has so many bytes, as its status says."""
    deadline = time.monotonic() + PATIENCE
    while (await client.get(location)).headers["Range"] != f"0-{size - 1}":
        assert time.monotonic() < deadline


class Gate:
    """Holds threads that call a function until it is opened; knows how the calls ended."""

    def __init__(self, monkeypatch: Any, owner: object, name: str) -> None:
        self.reached, self.ends = Event(), []
        self._open, self._real = Event(), getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *arguments: self._hold(*arguments))

    def open(self) -> None:
        """Let all through."""
        self._open.set()

    def _hold(self, *arguments: object) -> object:
        self.reached.set()
        assert self._open.wait(PATIENCE)
        try:
            result = self._real(*arguments)
        except OSError as error:
            self.ends.append(error)
            raise
        self.ends.append(None)
        return result


class HeldWrites:
    """The store's writes, each held until all are let go; then they are the real ones."""

    def __init__(self, monkeypatch: Any) -> None:
        self.waiting: list[Deferred[None]] = []
        self._monkeypatch = monkeypatch
        self._real = FileWriter.write
        held = self

        async def write(self: FileWriter, pieces: list[bytes]) -> None:
            held.waiting.append(Deferred())
            await held.waiting[-1]
            await held._real(self, pieces)

        monkeypatch.setattr(FileWriter, "write", write)

    def let_go(self) -> None:
        """Write what waits, and hold no more."""
        self._monkeypatch.setattr(FileWriter, "write", self._real)
        for each in self.waiting:
            each.callback(None)


def is_open(writer: Any) -> bool:
    """Whether the descriptor that a writer names exists."""
    return os.path.exists(f"/proc/self/fd/{writer.fileno()}")
