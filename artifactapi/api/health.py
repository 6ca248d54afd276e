"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from klein import Response

from artifactapi.api.responses import json_response, respond
from artifactapi.metrics import Metrics, Report
from artifactapi.oci.errors import OciError
from artifactapi.registry.registry import Registry


class Health:
    """Whether this process lives, and whether it should get requests."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[object]]],
        metrics: Metrics,
        registry: Registry,
        reports: Callable[[], Awaitable[Mapping[str, Report] | None]],
    ) -> None:
        """`reports` gives the metrics of each process, if there are several."""
        self._checks = checks
        self._metrics = metrics
        self._registry = registry
        self._reports = reports
        self.draining = False

    async def alive(self) -> Response:
        """The reactor answers: that is all."""
        return json_response(200, {"status": "ok"})

    async def ready(self) -> Response:
        """The database and the store answer, and it is not about to stop."""
        parts = {name: await self._check(check) for name, check in self._checks.items()}
        if self.draining:
            parts["service"] = "stopping"
        ready = all(state == "ok" for state in parts.values())
        return json_response(200 if ready else 503, {"status": "ok" if ready else "unavailable", **parts})

    async def metrics(self) -> Response:
        """For Prometheus. It must come although the database does not."""
        try:
            self._metrics.upload_sessions.set(await self._registry.uploads.count())
        except OciError:
            self._metrics.upload_sessions.set(float("nan"))
        text = self._metrics.text(await self._reports())
        return respond(200, text, content_type=self._metrics.content_type)

    async def _check(self, check: Callable[[], Awaitable[object]]) -> str:
        try:
            await check()
        except OciError as error:
            return error.message
        return "ok"
