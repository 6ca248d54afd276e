"""/api/v1/gc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from klein import Response
from twisted.logger import Logger

from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Rule
from artifactapi.api.parameters import flag
from artifactapi.api.responses import json_response, rfc3339
from artifactapi.api.site import Request
from artifactapi.oci.errors import OciError
from artifactapi.shield import detached

PATH = "/api/v1/gc"
SHOWN_RUNS = 20
SHOWN_DUE = 1000
log = Logger()


class Collecting(OciError):
    """A run of the collector is under way."""

    code = "GC_RUNNING"
    status = 409


class Collector(Protocol):
    """What the routes need of the collector."""

    async def start(self) -> int | None: ...

    async def collect(self, run: int) -> Mapping[str, int]: ...

    async def preview(self, count: int) -> list[Any]: ...

    async def backlog(self) -> Mapping[str, Any]: ...

    async def history(self, count: int) -> list[Any]: ...


class GcRoutes:
    """Parse, call, respond."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [
            Endpoint(PATH, READS, "gc", Rule.ADMIN, self.status),
            Endpoint(PATH, ("POST",), "gc", Rule.ADMIN, self.run),
        ]

    async def status(self, request: Request) -> Response:
        """GET: the backlog, and the latest runs of the fleet."""
        backlog = {kind: asdict(one) for kind, one in (await self._collector.backlog()).items()}
        runs = [run_json(run) for run in await self._collector.history(SHOWN_RUNS)]
        return json_response(200, {"backlog": backlog, "runs": runs})

    async def run(self, request: Request) -> Response:
        """POST: a run now; with ?dry_run=true, what it would take."""
        if flag(request, "dry_run"):
            return json_response(200, {"due": [asdict(due) for due in await self._collector.preview(SHOWN_DUE)]})
        run = await self._collector.start()
        if run is None:
            raise Collecting("a run of the collector is under way")
        detached(self._collector.collect(run))
        return json_response(202, {"id": run}, {"Location": PATH})


def run_json(run: Any) -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        "id": run.id,
        "started_at": rfc3339(run.started_at),
        "ended_at": None if run.ended_at is None else rfc3339(run.ended_at),
        "counts": run.counts,
        "failures": run.failures,
    }
