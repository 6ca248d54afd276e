"""A proxy between a replica and what it depends on, which holds, answers or cuts the requests that a test names."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from tests.daemon import DEADLINE
from tests.fleet.wires import Gone, Request, Wire

Connect = Callable[[], socket.socket]


class Exchange:
    """One request that came through the proxy."""

    def __init__(
        self,
        wire: Wire,
        request: Request,
        server: Callable[[], BinaryIO],
        client: BinaryIO,
        hang_up: Callable[[], None],
    ) -> None:
        self.request = request
        self.hang_up = hang_up
        self._wire = wire
        self._server = server
        self._client = client

    def ask(self) -> bytes:
        """Pass it on; the answer."""
        server = self._server()
        server.write(self.request.data)
        server.flush()
        return self._wire.answer(server, self.request)

    def reply(self, answer: bytes) -> None:
        """Pass the answer back."""
        self._client.write(answer)
        self._client.flush()


Rule = Callable[[Exchange], None]


class Hold:
    """A rule that stops a request where the test wants it: before it is passed on, or before its answer is."""

    def __init__(self, after: bool) -> None:
        self._after = after
        self._reached = threading.Event()
        self._released = threading.Event()
        self._done = threading.Event()
        self._cut = False
        self._exchange: Exchange | None = None

    def __call__(self, exchange: Exchange) -> None:
        """The proxy's thread, with the request."""
        try:
            answer = exchange.ask() if self._after else None
            self._exchange = exchange
            self._reached.set()
            assert self._released.wait(DEADLINE), "the test has forgotten it"
            if self._cut:
                raise Gone
            exchange.reply(exchange.ask() if answer is None else answer)
        finally:
            self._done.set()

    def wait(self) -> None:
        """Until the request is there."""
        assert self._reached.wait(DEADLINE), "no such request came"

    def hang_up(self) -> None:
        """Close the replica's connection already: it believes the request lost, and may send it again."""
        assert self._exchange
        self._exchange.hang_up()

    def cut(self) -> None:
        """Close its connections: it is never passed on, or its answer never arrives."""
        self._cut = True
        self.go_on()

    def go_on(self) -> None:
        """Pass it on, even if nobody is there any more to take the answer; return when that is done."""
        self._released.set()
        if self._reached.is_set():
            assert self._done.wait(DEADLINE)


class Proxy:
    """Listens on `listener`, and passes on to what `connect` gives; a thread for each connection."""

    def __init__(self, listener: socket.socket, connect: Connect, wire: Callable[[], Wire]) -> None:
        self._listener = listener
        self._connect = connect
        self._wire = wire
        self._rules: list[tuple[re.Pattern[str], list[Rule | None]]] = []
        self._standing: list[tuple[re.Pattern[str], Rule]] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._holds: list[Hold] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens, if that is TCP."""
        return int(self._listener.getsockname()[1])

    def hold(self, pattern: str, number: int = 1, after: bool = False) -> Hold:
        """Stop the `number`th request from now on whose name has the pattern."""
        hold = Hold(after)
        self._holds.append(hold)
        self.rule(pattern, *[None] * (number - 1), hold)
        return hold

    def rule(self, pattern: str, *rules: Rule | None) -> None:
        """What becomes of the next requests whose names have the pattern, one by one; None: nothing special."""
        with self._lock:
            self._rules.append((re.compile(pattern), list(rules)))

    def always(self, pattern: str, rule: Rule) -> None:
        """What becomes of all of them, until `clear`."""
        with self._lock:
            self._standing.append((re.compile(pattern), rule))

    @property
    def unused(self) -> list[str]:
        """Patterns that met fewer requests than there were rules."""
        with self._lock:
            return [pattern.pattern for pattern, rules in self._rules if rules]

    def clear(self) -> None:
        """Forget the rules, and let go what is held."""
        with self._lock:
            self._rules.clear()
            self._standing.clear()
        holds, self._holds = self._holds, []
        for hold in holds:
            hold.cut()

    def close(self) -> None:
        """End it, and every connection."""
        self.clear()
        hang_up(self._listener)
        self._listener.close()
        self._threads[0].join(DEADLINE)
        self.cut_all()
        for thread in self._threads:
            thread.join(DEADLINE)

    def cut_all(self) -> None:
        """Close every connection."""
        with self._lock:
            for each in self._sockets:
                hang_up(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        # ValueError: a connection's file that is closed already, with bytes that cannot be sent any more.
        with contextlib.ExitStack() as stack, suppress(OSError, Gone, ValueError):
            wire, servers = self._wire(), []
            arriving = self._file(stack, client)

            def server() -> BinaryIO:
                if not servers:
                    servers.append(self._file(stack, self._connect()))
                return servers[0]

            while True:
                exchange = Exchange(wire, wire.request(arriving, arriving), server, arriving, lambda: hang_up(client))
                (self._rule(exchange.request.name) or pass_on)(exchange)

    def _file(self, stack: contextlib.ExitStack, connection: socket.socket) -> BinaryIO:
        with self._lock:
            self._sockets.add(connection)

        def close() -> None:
            with self._lock:
                self._sockets.discard(connection)
            connection.close()

        stack.callback(close)
        file = connection.makefile("rwb")

        def close_file() -> None:
            with suppress(OSError):
                file.close()

        stack.callback(close_file)
        return file  # type: ignore[return-value]

    def _rule(self, name: str) -> Rule | None:
        with self._lock:
            for pattern, rules in self._rules:
                if rules and pattern.search(name):
                    return rules.pop(0)
            return next((rule for pattern, rule in self._standing if pattern.search(name)), None)


def hang_up(connection: socket.socket) -> None:
    """End it in both directions, whatever state it is in."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def pass_on(exchange: Exchange) -> None:
    """Nothing special."""
    exchange.reply(exchange.ask())


def answering(status: str, body: bytes = b"") -> Rule:
    """Answer it with that, and do not pass it on."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda exchange: exchange.reply(head + body)


def cut_before(exchange: Exchange) -> None:
    """Close the connection instead of passing it on."""
    raise Gone


def cut_after(exchange: Exchange) -> None:
    """Pass it on, and close the connection instead of passing the answer back."""
    exchange.ask()
    raise Gone


def stopping_after(size: int) -> Rule:
    """Pass so many bytes of the answer's body back, then close the connection."""

    def rule(exchange: Exchange) -> None:
        head, end, body = exchange.ask().partition(b"\r\n\r\n")
        exchange.reply(head + end + body[:size])
        raise Gone

    return rule
