"""Daemons on one database and one part of a bucket, and what the two hold."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.client import Answer, Body, Client
from tests.daemon import Daemon, eventually, url_of
from tests.seaweed import BUCKET, Seaweed


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
        options = {
            "database_url": url_of(self.dsn),
            "database_pool": "4",
            "s3_bucket": BUCKET,
            "s3_endpoint": self.seaweed.endpoint,
            "s3_prefix": self.prefix,
        }
        daemon.spawn(**{**options, **environment})

    def kill(self) -> None:
        """SIGKILL to those that run."""
        for daemon in self.daemons:
            daemon.kill()

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def keys(self, sql: str) -> set[str]:
        """The keys that a statement gives."""
        return {key for (key,) in self.query(sql)}

    def named(self) -> set[str]:
        """Keys that rows of blobs name."""
        return self.keys("SELECT object_key FROM blobs WHERE object_key IS NOT NULL")

    def under_way(self) -> set[str]:
        """Keys under which, and under those that begin with them, sessions may hold something."""
        return self.keys("SELECT object_key FROM upload_sessions WHERE store_state IS NOT NULL")

    def doomed(self) -> set[str]:
        """Keys in the outbox."""
        return self.keys("SELECT key FROM doomed_objects")

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
        named, objects = self.named(), self.objects()
        sizes = self.query("SELECT object_key, size FROM blobs WHERE object_key IS NOT NULL")
        assert {key: objects.get(key) for key in named} == dict(sizes)
        assert not named & (self.under_way() | self.doomed() - self.kept()), "what a row names must not be deleted"
        stray = self.stray(objects)
        new, self._told = stray - self._told, self._told | stray  # one that was found is one test's fault
        assert not new, "bytes that no row knows of"

    def stray(self, objects: Iterable[str]) -> set[str]:
        """Objects and multipart uploads that no row knows of."""
        whole = self.keys("SELECT key FROM doomed_objects WHERE store_state IS NOT NULL") | self.under_way()
        alone = self.keys("SELECT key FROM doomed_objects WHERE store_state IS NULL") | self.named()
        found = {*(set(objects) - alone), *(f"{key} (multipart)" for key in self.multiparts())}
        return {key for key in found if not key.startswith(tuple(whole))}

    def check_swept(self) -> None:
        """Let all in the outbox be due, and a replica start, which begins with a sweep: rows and bytes agree."""
        self.query("UPDATE doomed_objects SET after = now()")
        self.spawn()
        eventually(lambda: not self.doomed())
        assert {key for key in self.objects() if not key.startswith(tuple(self.under_way()))} == self.named()

    def kept(self) -> set[str]:
        """Keys in the outbox of which what is staged goes, while the object stays."""
        return self.keys("SELECT key FROM doomed_objects WHERE keep IS NOT NULL")


@dataclass
class Turns:
    """A client whose every request goes to another replica than the one before."""

    clients: tuple[Client, ...]

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.clients)

    def send(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, blocking."""
        return next(self._turns).send(method, path, body, headers)
