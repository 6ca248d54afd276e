"""The collector: sweeps one after the other, in small batches, until nothing is due. Rows first, bytes after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from twisted.logger import Logger

from artifactapi.gc import outbox, retention
from artifactapi.gc.progress import Progress
from artifactapi.metadata import cached, expiry, garbage, runs
from artifactapi.metadata.database import Database
from artifactapi.metadata.garbage import Backlog, Batch, Due
from artifactapi.metadata.runs import Run
from artifactapi.metrics import Metrics
from artifactapi.objects.interface import IObjectStore
from artifactapi.oci.errors import OciError

AT_ONCE = 500
"""Rows of one batch: a transaction of some 10 ms."""
SLACK = 1.25
"""A lease is renewed only when a quarter of it has passed: see `registry.blobs`."""
log = Logger()
Sweep = Callable[[], Awaitable[Batch]]


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds that what nobody needs is kept: `uploads` for sessions and for blobs no manifest names yet, `blobs` for
    those no image has, `audit` for its entries."""

    uploads: float
    blobs: float
    audit: float = 365 * 86_400.0

    @property
    def links(self) -> float:
        """Of a blob in an image: longer than its lease by as much as the lease may be renewed late."""
        return self.uploads * SLACK


class Superseded(Exception):
    """This run was taken for dead, and another one has begun."""


@dataclass(frozen=True, slots=True)
class _Account:
    """What a run has done so far, and who wants to know."""

    run: int
    progress: Callable[[Progress], None]
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


class Collector:
    """Runs the sweeps. In a fleet one run at a time is under way; any replica may do it."""

    def __init__(self, database: Database, store: IObjectStore, graces: Graces, metrics: Metrics) -> None:
        self._database = database
        self._store = store
        self._graces = graces
        self._metrics = metrics
        self._stopping = False

    def stop(self) -> None:
        """Let a run that is under way end after its batch."""
        self._stopping = True

    async def run(self) -> None:
        """A run, unless another one is under way in the fleet."""
        run = await self.start()
        if run is not None:
            await self.collect(run)

    async def start(self) -> int | None:
        """The id of a new run; None if another one is under way."""
        return await self._database.transaction(runs.begin)

    async def collect(self, run: int, progress: Callable[[Progress], None] = lambda _: None) -> Counter[str]:
        """All sweeps until nothing is due; what went, by kind."""
        account, began = _Account(run, progress), monotonic()
        try:
            for name, sweep in self._sweeps().items():
                if not self._stopping:
                    await self._attempt(name, sweep, account)
            await runs.report(self._database, run, account.counts, account.failures, True)
        except Superseded:
            log.warn("a run of the collector was taken for dead, and ends")
        except OciError as error:  # it will be taken for dead
            log.warn("a run of the collector cannot say that it has ended: {error}", error=error.message)
        counts = account.counts
        self._metrics.collected(counts, account.failures, monotonic() - began)
        if any(counts.values()):
            log.info("collected: {what}", what=", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
        return counts

    async def preview(self, count: int) -> list[Due]:
        """What a run would take now, up to `count` of each kind, and why. Changes nothing."""
        graces = self._graces
        due = await garbage.preview(self._database, graces.uploads, graces.links, graces.blobs, count)
        return await retention.preview(self._database, count) + due

    async def backlog(self) -> dict[str, Backlog]:
        """What the next run has to look at, by kind."""
        graces = self._graces
        return await garbage.backlog(self._database, graces.uploads, graces.links, graces.blobs)

    async def history(self, count: int) -> list[Run]:
        """The latest runs of the fleet, newest first."""
        return await runs.history(self._database, count)

    def _sweeps(self) -> dict[str, Sweep]:
        database, graces = self._database, self._graces
        return {
            "tags": lambda: retention.tags(database, AT_ONCE),
            "manifests": lambda: retention.manifests(database, AT_ONCE),
            "sessions": lambda: garbage.sessions(database, graces.uploads, AT_ONCE),
            "evicted": lambda: evicted(database),
            "links": lambda: database.transaction(lambda t: garbage.links(t, graces.links, AT_ONCE)),
            "blobs": lambda: database.transaction(lambda t: garbage.blobs(t, graces.blobs, AT_ONCE)),
            "expired": lambda: expiry.expired(database, graces.audit, AT_ONCE),
            "objects": lambda: outbox.sweep(database, self._store),
        }

    async def _attempt(self, name: str, sweep: Sweep, account: _Account) -> None:
        """A sweep that fails is logged, and does not keep the others from their turn."""
        try:
            await self._drain(name, sweep, account)
        except Superseded:
            raise
        except OciError as error:
            log.warn("the sweep of {name} failed, and is tried again: {error}", name=name, error=error.message)
            account.failures[name] = error.message
        except Exception as error:
            log.failure("the sweep of {name} failed; the next run tries again", name=name)
            account.failures[name] = type(error).__name__

    async def _drain(self, name: str, sweep: Sweep, account: _Account) -> None:
        counts = account.counts
        while True:
            batch = await sweep()
            counts[name] += batch.gone
            counts["bytes"] += batch.bytes
            if not await runs.report(self._database, account.run, counts, account.failures, False):
                raise Superseded
            if batch.gone:
                account.progress(Progress(name, counts[name]))
            if not batch.seen or self._stopping:
                return


async def evicted(database: Database) -> Batch:
    """What remote repos keep no longer: too old first, then too much."""
    old = await cached.evict_old(database, AT_ONCE)
    return old if old.seen else await cached.evict_beyond(database, AT_ONCE)
