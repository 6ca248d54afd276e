"""What /metrics shows. A leaf: layers get the one object from `service` and tell it what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


Report = list[Metric]
"""What one process has counted, to be sent to another."""


class Metrics:
    """The metrics of one process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._common = CollectorRegistry()  # what is no single process' own
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        labels = ("route", "method", "status")
        self._latency = Histogram(
            "artifactapi_request_seconds",
            "Requests and their duration",
            labels,
            buckets=SECONDS,
            registry=self._registry,
        )
        self._received = Counter("artifactapi_received_bytes", "Bytes of request bodies", registry=self._registry)
        self._sent = Counter("artifactapi_sent_bytes", "Bytes of response bodies", registry=self._registry)
        self._store = Histogram(
            "artifactapi_store_seconds",
            "Operations of the object store and their duration",
            ("operation", "outcome"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._upload_sessions = Gauge(
            "artifactapi_upload_sessions", "Upload sessions open, of all replicas", registry=self._common
        )
        self._count_garbage()
        self._gauge = Gauge(
            "artifactapi_database_connections", "Connections of the database pool", ("state",), registry=self._registry
        )
        self._running = Gauge("artifactapi_requests_running", "Requests under way", registry=self._registry)
        self._count_upstreams()
        # Finding a child by its labels costs more than counting in it.
        self._request = cache(self._latency.labels)

    def _count_upstreams(self) -> None:
        self._upstream = Histogram(
            "artifactapi_upstream_seconds",
            "Requests to upstreams of remote repos, until their headers came; status is none where none came",
            ("operation", "status"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._remaining = Gauge(
            "artifactapi_upstream_remaining", "Requests that the upstream allows for now", registry=self._registry
        )
        self._pulls = Counter(
            "artifactapi_remote_pulls",
            "Answers of what an upstream has: hit, miss, or stale",
            ("source",),
            registry=self._registry,
        )
        self._saved = Counter(
            "artifactapi_remote_saved_bytes",
            "Bytes sent that no upstream was asked for; without those that clients got from S3",
            registry=self._registry,
        )

    def _count_garbage(self) -> None:
        self._backlog = Gauge(
            "artifactapi_gc_backlog", "What the collector has to look at", ("kind",), registry=self._common
        )
        self._oldest = Gauge(
            "artifactapi_gc_backlog_oldest_seconds", "Since when its oldest waits", ("kind",), registry=self._common
        )
        self._reclaimed = Counter(
            "artifactapi_gc_reclaimed",
            "What the collector took: rows by kind, objects, bytes of blobs",
            ("kind",),
            registry=self._registry,
        )
        self._collecting = Histogram(
            "artifactapi_gc_run_seconds",
            "Runs of the collector and their duration",
            ("outcome",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._failures = Counter("artifactapi_gc_failures", "Sweeps that failed", ("sweep",), registry=self._registry)

    def request(self, route: str, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        """A request ended."""
        self._request(route, method, str(status)).observe(seconds)
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)

    def pulled(self, source: str, sent: int) -> None:
        """Content of an upstream was sent; `source`: hit, miss or stale."""
        self._pulls.labels(source).inc()
        if source != "miss":
            self._saved.inc(sent)

    def store(self, operation: str, outcome: str, seconds: float) -> None:
        """A store operation ended."""
        self._store.labels(operation, outcome).observe(seconds)

    def upstream(self, operation: str, status: int | None, seconds: float, remaining: int | None) -> None:
        """An upstream answered; `remaining`: how many more requests it allows, if it says so."""
        self._upstream.labels(operation, "none" if status is None else str(status)).observe(seconds)
        if remaining is not None:
            self._remaining.set(remaining)

    def common(self, sessions: float, backlog: Mapping[str, Any]) -> None:
        """What is no single process' own: open upload sessions, and a count and the seconds of its oldest by kind."""
        self._upload_sessions.set(sessions)
        self._backlog.clear()
        self._oldest.clear()
        for kind, one in backlog.items():
            self._backlog.labels(kind).set(one.count)
            self._oldest.labels(kind).set(one.seconds)

    def collected(self, counts: Mapping[str, int], failures: Iterable[str], seconds: float) -> None:
        """A run of the collector ended."""
        for kind, count in counts.items():
            self._reclaimed.labels(kind).inc(count)
        failed = list(failures)
        for sweep in failed:
            self._failures.labels(sweep).inc()
        self._collecting.labels("failed" if failed else "ok").observe(seconds)

    def watch_pool(self, busy: Callable[[], float], idle: Callable[[], float]) -> None:
        """Show the database pool's connections."""
        self._gauge.labels("busy").set_function(busy)
        self._gauge.labels("idle").set_function(idle)

    def watch_running(self, running: Callable[[], float]) -> None:
        """Show how many requests run."""
        self._running.set_function(running)

    def report(self) -> Report:
        """All that this process has counted."""
        return list(self._registry.collect())

    def text(self, reports: Mapping[str, Report] | None = None) -> bytes:
        """The exposition format: of this process, or of the workers whose reports these are."""
        own = self._registry if reports is None else Labelled(reports)
        return generate_latest(own) + generate_latest(self._common)


class Labelled(Collector):
    """The reports of several workers as one, each sample labelled with its worker."""

    def __init__(self, reports: Mapping[str, Report]) -> None:
        self._reports = reports

    def collect(self) -> Iterable[Metric]:
        """Each family once."""
        families: dict[str, Metric] = {}
        for worker, report in self._reports.items():
            for family in report:
                whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                whole.samples += [s._replace(labels={**s.labels, "worker": worker}) for s in family.samples]
        return families.values()
