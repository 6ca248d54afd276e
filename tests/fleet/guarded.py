"""A replica behind proxies, to be killed where the test wants it, and one beside it that lives."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from psycopg2.extensions import make_dsn, parse_dsn

from tests.client import Answer, Body, Client
from tests.daemon import DEADLINE, Daemon, url_of
from tests.fleet.fleet import Fleet
from tests.fleet.proxy import Connect, Hold, Proxy
from tests.fleet.wires import Http, Postgres


def to(family: socket.AddressFamily, address: tuple[str, int] | str) -> Connect:
    """Connects there."""

    def connect() -> socket.socket:
        made = socket.socket(family)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made

    return connect


def s3_proxy(endpoint: str, port: int = 0) -> Proxy:
    """A proxy before an S3 server, on a port of its own."""
    upstream = urlsplit(endpoint).port
    assert upstream
    return Proxy(socket.create_server(("127.0.0.1", port)), to(socket.AF_INET, ("127.0.0.1", upstream)), Http)


class Guarded:
    """Proxies before the fleet's S3 server and its Postgres, for replicas that are told to use them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.s3 = s3_proxy(fleet.seaweed.endpoint)
        self._folder = Path(tempfile.mkdtemp(prefix="artifactapi-test-"))  # short: it is a socket's name
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._folder / ".s.PGSQL.5432"))
        listener.listen()
        upstream = f"{parse_dsn(fleet.dsn)['host']}/.s.PGSQL.5432"
        self.sql = Proxy(listener, to(socket.AF_UNIX, upstream), Postgres)
        self.options = {
            "s3_endpoint": f"http://127.0.0.1:{self.s3.port}",
            "database_url": url_of(make_dsn(fleet.dsn, host=str(self._folder))),
            "gc_interval": "0",  # the collector's transactions are not those that a rule means
        }

    def close(self) -> None:
        """End the proxies."""
        self.s3.close()
        self.sql.close()
        shutil.rmtree(self._folder)

    def hold(self, where: str, pattern: str, number: int, after: bool) -> Hold:
        """Stop a request to `s3` or to `sql`."""
        return (self.s3 if where == "s3" else self.sql).hold(pattern, number, after)


class Victims:
    """Replicas behind the proxies, to be killed. The next one may start while a test is about the last."""

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self._next: Daemon | None = None

    def take(self) -> tuple[Daemon, Client]:
        """One that serves."""
        self.prepare()
        daemon, self._next = self._next, None
        assert daemon
        return daemon, daemon.client()

    def prepare(self) -> None:
        """Let the next one start. Its first requests come through the proxies: not while a rule might mean them."""
        if self._next is None:
            self._next = self._guarded.fleet.spawn(**self._guarded.options)


class Attempt(threading.Thread):
    """A client that pushes, and may be cut off. `answers` is what it was told."""

    def __init__(self, push: Callable[[Attempt], None], client: Client) -> None:
        super().__init__()
        self.answers: list[Answer] = []
        self.error: Exception | None = None
        self._push = push
        self._client = client
        self.start()

    def run(self) -> None:
        """Until it is done or cut off."""
        try:
            self._push(self)
        except Exception as error:
            self.error = error

    def send(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, whose answer is remembered."""
        answer = self._client.send(method, path, body, headers)
        self.answers.append(answer)
        return answer

    def ended(self) -> Attempt:
        """When it is done or cut off."""
        self.join(DEADLINE)
        assert not self.is_alive()
        return self

    @property
    def statuses(self) -> list[int]:
        """Of its answers."""
        return [answer.status for answer in self.answers]

    @property
    def location(self) -> str | None:
        """Of its session, if it was told of one."""
        return next((answer.headers["Location"] for answer in self.answers if answer.status == 202), None)
