"""How the schema comes into a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet import reactor

from artifactapi.metadata import schema
from artifactapi.metadata.database import Database
from artifactapi.metadata.schema import migrate, migrations
from artifactapi.oci.errors import Unavailable
from tests.conftest import statement
from tests.metadata.conftest import eventually
from tests.metadata.stories import together
from tests.onlooker import Onlooker

VERSIONS = [version for version, _ in migrations()]


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The DSN of a database with nothing in it."""
    statement(postgres, "CREATE DATABASE empty")
    yield f"{postgres} dbname=empty"
    statement(postgres, "DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def watcher(empty: str) -> Iterator[Onlooker]:
    """An onlooker of the empty database."""
    made = Onlooker(empty)
    yield made
    made.close()


def applied(watcher: Onlooker) -> list[int]:
    """The versions that the database says it has."""
    return [version for (version,) in watcher.rows("SELECT version FROM schema_versions ORDER BY 1")]


def test_numbers():
    """The files are numbered from 1 on, without a gap."""
    assert list(range(1, len(VERSIONS) + 1)) == VERSIONS


async def test_replicas_start_together(pool, empty, watcher):
    """However many migrate an empty database at the same time, each version is applied once, and all may go on."""
    replicas = [await pool(1, at=empty) for _ in range(6)]
    await together(*map(migrate, replicas))
    assert applied(watcher) == VERSIONS
    for replica in replicas:
        assert await replica.query("SELECT FROM upload_sessions") == []


async def test_again(pool, empty, watcher):
    """A database that has all is left as it is."""
    replica = await pool(1, at=empty)
    await migrate(replica)
    before = watcher.rows("SELECT * FROM schema_versions")
    await migrate(replica)
    assert watcher.rows("SELECT * FROM schema_versions") == before


async def test_ahead(pool, empty, watcher):
    """A database that a newer replica has migrated is left alone, and can be used."""
    replica = await pool(1, at=empty)
    await migrate(replica)
    watcher.rows("INSERT INTO schema_versions (version) VALUES (9999)")
    watcher.rows("ALTER TABLE repos ADD COLUMN newer text")
    await migrate(replica)
    assert applied(watcher) == [*VERSIONS, 9999]
    assert await replica.query("SELECT newer FROM repos") == []


async def test_only_what_is_missing(pool, empty, watcher, monkeypatch):
    """A later version is applied on top of those that are there, percent signs and all."""
    replica = await pool(1, at=empty)
    await migrate(replica)
    later = (*migrations(), (len(VERSIONS) + 1, "CREATE TABLE later AS SELECT '100%' AS text; SELECT 7 % 4"))
    monkeypatch.setattr(schema, "migrations", lambda: later)
    await migrate(replica)
    assert watcher.value("SELECT text FROM later") == "100%"
    assert applied(watcher) == [*VERSIONS, len(VERSIONS) + 1]


async def test_all_or_nothing(pool, empty, watcher, monkeypatch):
    """A version that fails leaves the database as it was; a start with the right code then works."""
    replica = await pool(1, at=empty)
    with monkeypatch.context() as broken:
        broken.setattr(schema, "migrations", lambda: [*migrations(), (99, "CREATE TABLE x (n int); SELEKT")])
        with pytest.raises(Exception, match="syntax error"):
            await migrate(replica)
    assert watcher.value("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") == 0
    await migrate(replica)
    assert applied(watcher) == VERSIONS


async def test_waits_for_the_one_who_migrates(pool, empty, watcher):
    """A replica that starts while another one migrates waits for it, longer than it would for any other lock."""
    replica = await pool(1, at=empty)
    watcher.rows("SELECT pg_advisory_lock(%s)", schema.LOCK)
    await replica.query("SET lock_timeout = 50")

    async def let_go() -> None:
        await eventually(lambda: watcher.waiting() == 1)
        watcher.rows("SELECT pg_sleep(0.2)")
        watcher.rows("SELECT pg_advisory_unlock(%s)", schema.LOCK)

    await together(migrate(replica), let_go())
    assert applied(watcher) == VERSIONS


async def test_without_a_database(empty):
    """A migration without a database is Unavailable."""
    with pytest.raises(Unavailable):
        await migrate(Database(empty, 1, reactor))


def test_the_numbers():
    """They are in a row: of two files with one number, a database that has the first would never get the second."""
    assert [version for version, _ in migrations()] == list(range(1, len(migrations()) + 1))
