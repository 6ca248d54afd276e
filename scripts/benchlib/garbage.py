"""The collector at work in a large registry: how fast it takes garbage, and what clients notice of it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchlib.blobs import pull, push_bytes
from benchlib.client import BenchError, request
from benchlib.daemons import Daemon, start_ours
from benchlib.server import S3, s3_server

BLOBS = 1_000_000
MANIFESTS = 200_000
IMAGES = 1_000
GARBAGE = 100_000
CLIENTS = 4
PACE = 0.2
"""Seconds from one push and pull of a client to its next: a third of what two cores carry, since clients that take all
there is would lose to the deletions whatever the S3 server spends on them."""
BODY = 100_000  # bytes that each client pushes and pulls, again and again
USUAL = 15.0  # seconds of that before the sweep

# A registry where nothing is due: every link is used, every blob linked, and the collector has seen so.
FILL = """
    INSERT INTO images (repo_id, name) SELECT r.id, 'fill/' || n FROM repos r, generate_series(1, {images}) n
        WHERE r.name = 'docker-internal';
    INSERT INTO blobs (digest, size, object_key, idle_since)
        SELECT 'sha256:' || lpad(to_hex(n), 64, '0'), 1000, 'blobs/fi/fill-' || n, NULL
        FROM generate_series(1, {blobs}) n;
    INSERT INTO image_blobs (image_id, blob_id, idle_since)
        SELECT i.id, b.id, NULL FROM blobs b JOIN images i ON i.name = 'fill/' || (b.id % {images} + 1)
        WHERE b.object_key LIKE 'blobs/fi/%';
    INSERT INTO manifests (image_id, digest, media_type, size, content, idle_since)
        SELECT i.id, 'sha256:' || 'f' || lpad(to_hex(n), 63, '0'), 'application/json', 2, '{{}}', NULL
        FROM generate_series(0, {manifests} - 1) n JOIN images i ON i.name = 'fill/' || (n % {images} + 1);
    INSERT INTO manifest_refs (image_id, digest, child, kind)
        SELECT m.image_id, m.digest, b.digest, 'layer' FROM (
            SELECT image_id, digest, row_number() OVER (PARTITION BY image_id ORDER BY digest) AS at FROM manifests
        ) m JOIN (
            SELECT l.image_id, b.digest, row_number() OVER (PARTITION BY l.image_id ORDER BY b.digest) AS at
            FROM image_blobs l JOIN blobs b ON b.id = l.blob_id
        ) b ON b.image_id = m.image_id AND (b.at - 1) % {each} = m.at - 1;
    ANALYZE;
"""
DROP = """
    INSERT INTO blobs (digest, size, object_key, idle_since)
        SELECT 'sha256:' || 'e' || lpad(to_hex(n), 63, '0'), 3, 'blobs/ga/garbage-' || n, now() - interval '2 hours'
        FROM generate_series(1, %s) n
"""


class Clients:
    """Push and pull small blobs at their pace until they are told to stop; `done` counts."""

    def __init__(self, port: int) -> None:
        self.done = 0
        self._port = port
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0, due - time.monotonic())):
            pull(self._port, push_bytes(self._port, os.urandom(BODY)))
            with self._lock:
                self.done += 1
            due += PACE  # who is late catches up


def measure_gc(directory: pathlib.Path, garbage: int) -> bool:
    """Fill, sweep, and tell; whether every aim is reached."""
    with registry(directory) as (daemon, s3):
        print(f"{BLOBS:,} blobs, {MANIFESTS:,} manifests, {garbage:,} blobs to reclaim", flush=True)
        database = connection(directory / "ours" / "postgres")
        execute(database, FILL.format(images=IMAGES, blobs=BLOBS, manifests=MANIFESTS, each=MANIFESTS // IMAGES))
        nothing = collect(daemon)["seconds"]
        store(s3, garbage)
        with Clients(daemon.port) as clients:
            time.sleep(USUAL)
            usual = clients.done / USUAL
            before = clients.done
            execute(database, DROP, (garbage,))
            run = collect(daemon)
            meanwhile = (clients.done - before) / run["seconds"]
    lines = [
        ("a run that finds nothing", f"{nothing:.2f} s", "< 1 s", nothing < 1),
        (
            "objects reclaimed",
            f"{run['counts'].get('objects', 0):,}",
            f"{garbage:,}",
            run["counts"]["objects"] >= garbage,
        ),
        ("objects per second", f"{garbage / run['seconds']:.0f}", ">= 1000", garbage / run["seconds"] >= 1000),
        (
            "pushes and pulls meanwhile",
            f"{meanwhile / usual:.2f}x of {usual:.0f}/s",
            ">= 0.80x",
            meanwhile >= 0.8 * usual,
        ),
    ]
    for what, value, aim, reached in lines:
        print(f"{what:28} {value:>20}   {aim:>10}   {'ok' if reached else 'SHORT'}")
    return all(reached for *_, reached in lines)


@contextlib.contextmanager
def registry(directory: pathlib.Path) -> Iterator[tuple[Daemon, S3]]:
    """This project over S3, whose collector runs only when it is told to."""
    os.environ["ARTIFACTAPI_GC_INTERVAL"] = "1000000"
    with s3_server(directory / "s3") as s3:
        daemon = start_ours(directory, s3)
        try:
            daemon.await_ready(300)
            yield daemon, s3
        finally:
            daemon.stop()


def connection(cluster: pathlib.Path) -> Any:
    """To the daemon's own Postgres."""
    import psycopg2

    made = psycopg2.connect(host=str(cluster), user="artifactapi", dbname="artifactapi")
    made.autocommit = True
    return made


def execute(database: Any, sql: str, values: tuple[object, ...] | None = None) -> None:
    with database.cursor() as cursor:
        cursor.execute(sql, values)


def store(s3: S3, count: int) -> None:
    """Put the objects that are going to be garbage."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
    )
    began = time.monotonic()

    def put(number: int) -> None:
        client.put_object(Bucket=s3.bucket, Key=f"ours/blobs/ga/garbage-{number}", Body=b"gar")

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(put, range(1, count + 1), chunksize=100):
            pass
    print(f"{count:,} objects put in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def collect(daemon: Daemon) -> dict[str, Any]:
    """A run of the collector: its counts and its seconds."""
    began = time.monotonic()
    started = request(daemon.port, "POST", "/api/v1/gc")
    if started.status != 202:
        raise BenchError(f"the collector did not start: {started.body[:300]!r}")
    run = json.loads(started.body)["id"]
    while True:
        runs = {one["id"]: one for one in json.loads(request(daemon.port, "GET", "/api/v1/gc").body)["runs"]}
        if runs[run]["ended_at"]:
            if runs[run]["failures"]:
                raise BenchError(f"sweeps failed: {runs[run]['failures']}")
            return {**runs[run], "seconds": time.monotonic() - began}
        time.sleep(0.1)
