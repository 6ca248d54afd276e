"""--database-url: a Postgres that comes up late, is restarted, or says no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, eventually, url_of
from tests.e2e.content import NAME, some_content
from tests.e2e.test_kills import pushing, wait_for_more
from tests.e2e.test_refused_starts import PASSWORD, reason
from tests.postgres import CLOSED, Postgres

TAGS = f"/v2/{NAME}/tags/list"


@pytest.fixture
def server(open_directory: Path) -> Iterator[Postgres]:
    """A Postgres, not yet started."""
    directory = open_directory / "postgres"
    directory.mkdir()
    made = Postgres(directory)
    yield made
    made.stop()


@pytest.fixture
def replica(server: Postgres, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon over it, not yet started."""
    made = Daemon(tmp_path)
    yield made
    made.kill()


def test_it_is_restarted(server: Postgres, replica: Daemon):
    """While Postgres is away requests are told 503 and when to come again; once it is back all is well, by itself."""
    server.start()
    client = replica.start(database_url=url_of(server.dsn))
    with pushing(client) as pushers:
        server.stop()
        answer = client.send("GET", TAGS)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert client.send("GET", "/readyz").status == 503
        assert client.send("GET", "/healthz").status == 200
        server.start()
        eventually(lambda: client.send("GET", "/readyz").status == 200)
        wait_for_more(pushers)
    assert set().union(*(pusher.refused for pusher in pushers)) <= {503}
    for pusher in pushers:
        pusher.content.check(client)
    assert replica.stop() == 0
    assert "Traceback" not in replica.text()


def test_it_comes_up_late(server: Postgres, replica: Daemon):
    """A daemon that is started first waits, says what for, and serves once Postgres is there."""
    replica.spawn(database_url=url_of(server.dsn))
    eventually(lambda: "trying again" in replica.text())
    assert "cannot connect to the database: " in replica.text()
    server.start()
    some_content(client := replica.client()).check(client)
    assert "CRITICAL" not in replica.text()


def test_a_start_that_waits_is_stopped(server: Postgres, replica: Daemon):
    """SIGTERM ends the waiting, with 0."""
    replica.spawn(database_url=url_of(server.dsn))
    eventually(lambda: "trying again" in replica.text())
    assert replica.stop() == 0
    assert "CRITICAL" not in replica.text()


def test_it_does_not_come_up(server: Postgres, replica: Daemon):
    """A start waits as long as it was told to, and no longer."""
    replica.spawn(database_url=url_of(server.dsn), start_patience="1")
    assert reason(replica).startswith("cannot connect to the database: ")
    assert "trying again" in replica.text()


def test_it_knows_no_such_password(server: Postgres, replica: Daemon):
    """A password that is wrong ends the start at once: waiting would not make it right."""
    server.start(access=CLOSED)
    replica.spawn(database_url=url_of(f"{server.dsn} password={PASSWORD}"))
    assert "password authentication failed" in reason(replica)
    assert "trying again" not in replica.text()
    assert PASSWORD not in replica.text()
