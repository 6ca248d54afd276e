"""Fixtures: a daemon in this process, an upstream that does what a test tells it, and repos between the two."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg2
import pytest

from tests.client import Client
from tests.conftest import statement
from tests.remote.shelf import Shelf
from tests.upstream.scripted import Scripted

Remote = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def shelf(scripted: Scripted) -> Shelf:
    """Its images."""
    return Shelf(scripted)


@pytest.fixture
def remote(client: Client, scripted: Scripted) -> Remote:
    """Makes a remote repo of it with such settings, or gives these to the one that is there; its name."""

    async def make(name: str = "hub", **settings: object) -> str:
        fields = {"name": name, "package_type": "docker", "repo_type": "remote"}
        given = {"upstream": scripted.url, "backoff": 1, **settings}
        answer = await client.request("POST", "/api/v1/repos", as_json({**fields, "settings": given}))
        if answer.status == 409:
            answer = await client.request("PATCH", f"/api/v1/repos/{name}", as_json({"settings": settings}))
        assert answer.status in (200, 201), answer.body
        return name

    return make


def as_json(value: object) -> bytes:
    """The bytes of a request's body."""
    return json.dumps(value).encode()


@pytest.fixture
def rows(dsn: str) -> Callable[[str], list[tuple]]:
    """Runs a query on the daemon's database."""

    def query(sql: str) -> list[tuple]:
        connection = psycopg2.connect(dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    return query


@pytest.fixture
def later(dsn: str) -> Callable[[float], None]:
    """Lets so many seconds pass for all that is cached."""

    def pass_by(seconds: float) -> None:
        ago = f"interval '{seconds} seconds'"
        statement(dsn, f"UPDATE tags SET checked_at = checked_at - {ago}")
        statement(dsn, f"UPDATE remote_referrers SET checked_at = checked_at - {ago}")
        statement(dsn, f"UPDATE manifests SET pulled_at = pulled_at - {ago}")
        statement(dsn, f"UPDATE image_blobs SET pulled_at = pulled_at - {ago}")

    return pass_by
