"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from klein import Response
from twisted.internet.defer import Deferred

from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Rule
from artifactapi.api.responses import json_response, respond
from artifactapi.api.site import Request
from artifactapi.metrics import Metrics, Report
from artifactapi.oci.errors import OciError
from artifactapi.registry.registry import Registry
from artifactapi.shield import detached

PATIENCE = 4.0
"""Seconds in which a part must answer; the probes of most platforms wait a little longer, or can be told to."""


class Check:
    """Whether a part of the daemon works: one question at a time, however many ask."""

    def __init__(self, ask: Callable[[], Awaitable[object]], reactor: Any) -> None:
        self._ask = ask
        self._reactor = reactor
        self._waiting: list[Deferred[str]] = []
        self._asking = False

    async def state(self) -> str:
        """ok, or what is wrong."""
        waiter: Deferred[str] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        too_late = self._reactor.callLater(PATIENCE, self._answer, [waiter], "does not answer in time")
        if not self._asking:
            self._asking = True
            detached(self._run())
        try:
            return await waiter
        finally:
            if too_late.active():
                too_late.cancel()

    async def _run(self) -> None:
        try:
            await self._ask()
        except OciError as error:
            self._answer(self._waiting, error.message)
        else:
            self._answer(self._waiting, "ok")
        finally:
            self._asking = False

    def _answer(self, waiters: list[Deferred[str]], state: str) -> None:
        for waiter in list(waiters):
            self._waiting.remove(waiter)
            waiter.callback(state)


class Health:
    """Whether this process lives, and whether it should get requests."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[object]]],
        metrics: Metrics,
        registry: Registry,
        backlog: Callable[[], Awaitable[Mapping[str, Any]]],
        reports: Callable[[], Awaitable[Mapping[str, Report] | None]],
        reactor: Any,
    ) -> None:
        """`backlog` gives what the collector has to look at; `reports` the metrics of each process, if there are
        several."""
        self._checks = {name: Check(ask, reactor) for name, ask in checks.items()}
        self._metrics = metrics
        self._registry = registry
        self._backlog = backlog
        self._reports = reports
        self.draining = False

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served. Whoever probes a daemon has no account: nothing here says what it holds."""
        return [
            Endpoint("/healthz", READS, "healthz", Rule.ANYONE, self.alive),
            Endpoint("/readyz", READS, "readyz", Rule.ANYONE, self.ready),
            Endpoint("/metrics", READS, "metrics", Rule.ANYONE, self.metrics),
        ]

    async def alive(self, request: Request) -> Response:
        """The reactor answers: that is all."""
        return json_response(200, {"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """The database and the store answer, and it is not about to stop."""
        asked = {name: Deferred.fromCoroutine(check.state()) for name, check in self._checks.items()}
        parts = {name: await state for name, state in asked.items()}
        if self.draining:
            parts["service"] = "stopping"
        ready = all(state == "ok" for state in parts.values())
        return json_response(200 if ready else 503, {"status": "ok" if ready else "unavailable", **parts})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus. It must come although the database does not."""
        try:
            self._metrics.common(await self._registry.uploads.count(), await self._backlog())
        except OciError:
            self._metrics.common(float("nan"), {})
        text = self._metrics.text(await self._reports())
        return respond(200, text, content_type=self._metrics.content_type)
