"""The collector over real parts, with a clock that the test owns: rows are made older instead of waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from artifactapi.gc.collector import Collector, Graces
from artifactapi.metrics import Metrics
from tests.registry.conftest import directory, registry, stepped  # noqa: F401

HOUR = 3600.0
GRACES = Graces(uploads=24 * HOUR, blobs=HOUR)
AGEING = """
    UPDATE upload_sessions SET updated_at = updated_at - make_interval(secs => %(s)s);
    UPDATE image_blobs SET idle_since = idle_since - make_interval(secs => %(s)s) WHERE idle_since IS NOT NULL;
    UPDATE blobs SET idle_since = idle_since - make_interval(secs => %(s)s) WHERE idle_since IS NOT NULL;
    UPDATE manifests SET idle_since = idle_since - make_interval(secs => %(s)s) WHERE idle_since IS NOT NULL;
    UPDATE doomed_objects SET after = after - make_interval(secs => %(s)s);
    UPDATE gc_runs SET seen_at = seen_at - make_interval(secs => %(s)s)
"""

Wait = Callable[[float], Awaitable[None]]


@pytest.fixture
def collector(database, store) -> Collector:
    """The collector, with graces of a day and of an hour."""
    return Collector(database, store, GRACES, Metrics())


@pytest.fixture
def wait(database) -> Wait:
    """Let so many seconds pass."""

    async def seconds(count: float) -> None:
        for statement in AGEING.split(";"):
            await database.query(statement, {"s": count})

    return seconds


@pytest.fixture
def collect(collector) -> Callable[[], Awaitable[dict[str, int]]]:
    """Run the collector; what went, by kind."""

    async def run() -> dict[str, int]:
        started = await collector.start()
        assert started is not None
        return {kind: count for kind, count in (await collector.collect(started)).items() if count}

    return run
