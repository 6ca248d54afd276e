"""Several daemons on one database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from artifactapi.metadata.schema import migrations
from tests.conftest import statement
from tests.daemon import Daemon, url_of
from tests.e2e.content import Content, some_content

REPLICAS = 4


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The DSN of a database with nothing in it."""
    statement(postgres, "CREATE DATABASE empty_e2e")
    yield f"{postgres} dbname=empty_e2e"
    statement(postgres, "DROP DATABASE empty_e2e WITH (FORCE)")


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Daemon]]:
    """Daemons with one directory for the objects, not yet started."""
    made = [Daemon(tmp_path / str(number)) for number in range(REPLICAS)]
    yield made
    for each in made:
        each.kill()


def rows(dsn: str, sql: str) -> list[tuple]:
    """Run a statement; its rows."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def test_they_start_together(replicas: list[Daemon], empty: str):
    """Daemons that start on an empty database at once apply the schema once, and each serves what another took."""
    for each in replicas:
        each.spawn("--data-dir", str(replicas[0].data), database_url=url_of(empty))
    clients = [each.client() for each in replicas]
    versions = [(version,) for version, _ in migrations()]
    assert rows(empty, "SELECT version FROM schema_versions ORDER BY version") == versions
    assert sum(each.text().count("applied") for each in replicas) == len(versions)
    contents = [some_content(clients[0]), *(push(client, f"of-{n}") for n, client in enumerate(clients))]
    for client in clients:
        for content in contents:
            content.check(client)
    assert [each.stop() for each in replicas] == [0] * REPLICAS


def push(client, tag: str) -> Content:
    """An image."""
    content = Content()
    content.push_image(client, tag, 100_000)
    return content


def test_an_older_one_beside_a_newer(replicas: list[Daemon], dsn: str):
    """A daemon goes on, and starts again, when a newer one has migrated the database, since changes only add."""
    older = replicas[:2]
    client = older[0].start(database_url=url_of(dsn))
    content = some_content(client)
    rows(dsn, "INSERT INTO schema_versions (version) VALUES (9999)")
    rows(dsn, "ALTER TABLE repos ADD COLUMN newer text; ALTER TABLE tags ADD COLUMN newer int NOT NULL DEFAULT 7")
    rows(dsn, "CREATE TABLE newer (n int)")
    try:
        content.check(client)
        push(client, "after").check(client)
        other = older[1].start("--data-dir", str(older[0].data), database_url=url_of(dsn))
        content.check(other)
        push(other, "beside").check(client)
    finally:
        for each in older:
            each.kill()
