"""An upstream that does what a test tells it, well or badly: a real HTTP server, a thread for each connection."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from tests.daemon import DEADLINE


class Gone(Exception):
    """A reply that ends its connection."""


@dataclass(frozen=True)
class Seen:
    """A request that came; the names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def authorization(self) -> str | None:
        """The credentials that came with it."""
        return self.headers.get("authorization")


class Exchange:
    """A request, and the connection to answer it on; `sent` are the bytes that the kernel took, `ended` is set when
    the reply is over, however."""

    def __init__(self, seen: Seen, connection: socket.socket) -> None:
        self.seen = seen
        self.sent = 0
        self.ended = threading.Event()
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Send bytes as they are. Raises OSError when the other side is gone."""
        view = memoryview(data)
        while view:
            sent = self._connection.send(view)
            self.sent += sent
            view = view[sent:]

    def hang(self) -> None:
        """Do nothing until the other side hangs up, or the test ends."""
        while self._connection.recv(65536):
            pass
        raise Gone


Reply = Callable[[Exchange], None]


class Scripted:
    """Listens on a port of its own at `host`; what no rule is for is 404."""

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._context = context
        self._rules: list[tuple[re.Pattern[str], list[Reply]]] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """What stands before /v2/."""
        return f"http{'s' if self._context else ''}://{self.host}:{self.port}"

    @property
    def seen(self) -> list[Seen]:
        """The requests that came, in order."""
        return [exchange.seen for exchange in self.exchanges]

    def on(self, pattern: str, *replies: Reply) -> None:
        """Answer requests whose `METHOD target` has the pattern with these, one by one; the last one from then on.

        A newer rule counts before an older one.
        """
        with self._lock:
            self._rules.insert(0, (re.compile(pattern), list(replies)))

    def close(self) -> None:
        """End it, and every connection."""
        hang_up(self._listener)
        self._listener.close()
        self._threads[0].join(DEADLINE)
        with self._lock:
            for connection in self._sockets:
                hang_up(connection)
        for thread in self._threads:
            thread.join(DEADLINE)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with self._lock:
                    self._sockets.add(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        # ValueError: a request of a client that has given up in the middle of it.
        with suppress(OSError, Gone, ValueError):
            if self._context:
                connection = self._context.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._sockets.add(connection)
            with connection.makefile("rb") as file:
                while seen := read_request(file):
                    self._answer(Exchange(seen, connection))
        with self._lock:
            self._sockets -= {plain, connection}
        hang_up(connection)
        connection.close()

    def _answer(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)
            reply = self._reply(f"{exchange.seen.method} {exchange.seen.target}")
        try:
            reply(exchange)
        finally:
            exchange.ended.set()

    def _reply(self, name: str) -> Reply:
        for pattern, replies in self._rules:
            if pattern.search(name):
                return replies.pop(0) if len(replies) > 1 else replies[0]
        return answer(404, b'{"errors":[]}')


def hang_up(connection: socket.socket) -> None:
    """End it in both directions, whatever state it is in."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def read_request(file: BinaryIO) -> Seen | None:
    """The next request, none of which has a body; None at the end."""
    line = file.readline(65536).decode("latin-1").split()
    if not line:
        return None
    method, target, _ = line
    headers = {}
    while (header := file.readline(65536).decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Seen(method, target, headers)


def head(status: int, **headers: object) -> bytes:
    """The head of an answer; `content_type=` becomes Content-Type, and a list becomes several headers."""
    lines = [f"HTTP/1.1 {status} Scripted"]
    for name, given in headers.items():
        for value in given if isinstance(given, list) else [given]:
            lines.append(f"{name.replace('_', '-').title()}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def raw(*pieces: bytes) -> Reply:
    """These bytes, then the end of the connection."""

    def reply(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.send(piece)
        raise Gone

    return reply


def answer(status: int, body: bytes = b"", **headers: object) -> Reply:
    """An answer as it should be: with its length, and without a body for a HEAD."""

    def reply(exchange: Exchange) -> None:
        start = head(status, content_length=len(body), **headers)
        exchange.send(start if exchange.seen.method == "HEAD" else start + body)

    return reply


def answer_json(status: int, value: Any, **headers: object) -> Reply:
    """The same with JSON."""
    return answer(status, json.dumps(value).encode(), content_type="application/json", **headers)


def partly(body: bytes) -> Reply:
    """What the Range asks for, or all of it."""

    def reply(exchange: Exchange) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", exchange.seen.headers.get("range", ""))
        start = int(match[1]) if match else 0
        if not start:
            answer(200, body)(exchange)
        elif start >= len(body):
            answer(416, content_range=f"bytes */{len(body)}")(exchange)
        else:
            answer(206, body[start:], content_range=f"bytes {start}-{len(body) - 1}/{len(body)}")(exchange)

    return reply


def cut(body: bytes, after: int) -> Reply:
    """An answer whose connection is closed after so many bytes of its body."""
    return raw(head(200, content_length=len(body)), body[:after])


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """The pieces in chunked transfer coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> Reply:
    """An answer of unknown length; without `end` it is cut."""
    return raw(head(200, transfer_encoding="chunked"), chunks(*pieces, end=end))


def hanging(*pieces: bytes) -> Reply:
    """These bytes, then nothing more while the connection stays open."""

    def reply(exchange: Exchange) -> None:
        exchange.send(b"".join(pieces))
        exchange.hang()

    return reply


def held(go_on: threading.Event, reply: Reply) -> Reply:
    """That reply, when the test says so."""

    def wait(exchange: Exchange) -> None:
        assert go_on.wait(DEADLINE), "the test has forgotten it"
        reply(exchange)

    return wait


def redirect(location: str, status: int = 307) -> Reply:
    """Elsewhere."""
    return answer(status, b"elsewhere", location=location, set_cookie="session=secret; Path=/")


def wants_bearer(realm: str, service: str = "test") -> Reply:
    """401 of Docker's token flow."""
    challenge = f'Bearer realm="{realm}",service="{service}",scope="repository:ignored:pull,push"'
    return answer(401, b'{"errors":[]}', www_authenticate=challenge)


def behind(authorization: str | Callable[[], str], reply: Reply, otherwise: Reply) -> Reply:
    """`reply` for those who show this Authorization."""

    def choose(exchange: Exchange) -> None:
        wanted = authorization if isinstance(authorization, str) else authorization()
        (reply if exchange.seen.authorization == wanted else otherwise)(exchange)

    return choose


def tokens(*texts: str, expires_in: object = 300) -> list[Reply]:
    """A token server's answers."""
    return [answer_json(200, {"token": text, "expires_in": expires_in}) for text in texts]


def basic(username: str, password: str) -> str:
    """The Authorization header of a password."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
