"""Daemons on one database and one part of a bucket, and what the two hold."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psycopg2

from tests.client import Answer, Body, Client
from tests.daemon import Daemon, eventually, url_of
from tests.seaweed import BUCKET, Seaweed
from tests.tool import Tool

CHECKED = [{"event": "checked", "findings": 0}]
"""What a check says that has found nothing wrong."""


@dataclass(frozen=True)
class Rows:
    """Keys that rows name: of blobs with their sizes, of open sessions that may have something in the bucket, and of
    what the outbox wants deleted: one object, all below a key, all below it but the object that is a blob's."""

    named: dict[str, int]
    open: dict[str, int]
    doomed: dict[str, int]
    aborted: dict[str, int]
    cleared: dict[str, int]

    @property
    def whole(self) -> set[str]:
        """Those that stand for all that begins with them."""
        return {*self.open, *self.aborted, *self.cleared}

    @property
    def outbox(self) -> set[str]:
        """What is to be deleted."""
        return {*self.doomed, *self.aborted, *self.cleared}


class Fleet:
    """Replicas over the database `dsn` and the keys of a bucket that begin with `prefix`."""

    def __init__(self, directory: Path, dsn: str, seaweed: Seaweed, prefix: str) -> None:
        self.dsn = dsn
        self.seaweed = seaweed
        self.prefix = prefix
        self.daemons: list[Daemon] = []
        self._directory = directory
        self._bucket = seaweed.client()
        self._told: set[str] = set()

    def spawn(self, **environment: str) -> Daemon:
        """One more replica; do not wait until it serves. The options given go over the fleet's own."""
        daemon = Daemon(self._directory / str(len(self.daemons)))
        self.daemons.append(daemon)
        self.start(daemon, **environment)
        return daemon

    def start(self, daemon: Daemon, **environment: str) -> None:
        """Start it; do not wait until it serves."""
        daemon.spawn(**{**self._options(), **environment})

    def tool(self, **environment: str) -> Tool:
        """The command line over the same; the options given go over the fleet's own."""
        made = Tool(self.dsn, self._directory)
        options = {**self._options(), **environment}
        made.environment.update({f"ARTIFACTAPI_{key.upper()}": value for key, value in options.items()})
        return made

    def _options(self) -> dict[str, str]:
        return {
            "database_url": url_of(self.dsn),
            "database_pool": "4",
            "gc_interval": "86400",
            "s3_bucket": BUCKET,
            "s3_endpoint": self.seaweed.endpoint,
            "s3_prefix": self.prefix,
        }

    def serving(self) -> tuple[Client, Client]:
        """Two more that serve."""
        first, second = self.spawn(), self.spawn()
        return first.client(), second.client()

    def kill(self) -> None:
        """SIGKILL to those that run."""
        for daemon in self.daemons:
            daemon.kill()

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> Rows:
        """What rows name."""
        found = self.query(
            "SELECT 'named', object_key, size FROM blobs WHERE object_key IS NOT NULL UNION ALL"
            " SELECT 'open', object_key, 0 FROM upload_sessions WHERE store_state IS NOT NULL UNION ALL"
            " SELECT CASE WHEN store_state IS NULL THEN 'doomed' WHEN keep IS NULL THEN 'aborted' ELSE 'cleared' END,"
            " key, 0 FROM doomed_objects"
        )
        return Rows(*({key: size for kind, key, size in found if kind == field.name} for field in fields(Rows)))

    def objects(self) -> dict[str, int]:
        """The bucket's objects, with their sizes."""
        pages = self._bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix)
        found = [entry for page in pages for entry in page.get("Contents", ())]
        return {entry["Key"].removeprefix(self.prefix): entry["Size"] for entry in found}

    def multiparts(self) -> set[str]:
        """Keys of multipart uploads that are neither completed nor aborted."""
        pages = self._bucket.get_paginator("list_multipart_uploads")
        found = pages.paginate(Bucket=BUCKET, Prefix=self.prefix)
        return {entry["Key"].removeprefix(self.prefix) for page in found for entry in page.get("Uploads", ())}

    def check_balance(self) -> None:
        """Every row of a blob has its object, of the right size; there are no bytes that no row knows of."""
        rows, objects = self.rows(), self.objects()
        assert {key: objects.get(key) for key in rows.named} == rows.named
        dying = {**rows.open, **rows.doomed, **rows.aborted}
        assert not dying.keys() & rows.named.keys(), "what a row names must not be deleted"
        stray = self.stray(rows, objects)
        new, self._told = stray - self._told, self._told | stray  # one that was found is one test's fault
        assert not new, "bytes that no row knows of"

    def stray(self, rows: Rows, objects: Iterable[str]) -> set[str]:
        """Objects and multipart uploads that no row knows of."""
        alone = rows.named.keys() | rows.doomed.keys()
        found = {*(set(objects) - alone), *(f"{key} (multipart)" for key in self.multiparts())}
        return {key for key in found if not key.startswith(tuple(rows.whole))}

    def check_swept(self) -> None:
        """Let all in the outbox be due, and a replica start, which begins with a sweep: rows and bytes agree."""
        self._let_all_be_due()
        self.spawn()
        eventually(lambda: self.rows().outbox == set())
        self.check_clean()

    def collect(self, tool: Tool) -> dict[str, Any]:
        """Run the collector when all in the outbox is due; what it took."""
        self._let_all_be_due()
        *_, taken = tool.events("gc")
        return taken

    def check_clean(self) -> None:
        """There is nothing but the objects of blobs, and what open sessions have."""
        rows = self.rows()
        assert rows.outbox == set()
        assert rows.named.keys() <= self.objects().keys()
        assert self.stray(rows, self.objects()) <= self._told

    def _let_all_be_due(self) -> None:
        self.query("UPDATE doomed_objects SET after = now()")
        # The run of a replica that was killed in it is taken for dead after a minute: which has passed, here.
        self.query("UPDATE gc_runs SET seen_at = seen_at - interval '1 minute' WHERE ended_at IS NULL")


@dataclass
class Turns:
    """A client whose every request goes to another replica than the one before."""

    clients: tuple[Client, ...]

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.clients)

    def send(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, blocking."""
        return next(self._turns).send(method, path, body, headers)
