"""/readyz and /metrics when something is missing."""

from __future__ import annotations

from artifactapi.api.health import Health
from artifactapi.metrics import Metrics
from artifactapi.service import Artifactapi
from tests.client import Client


async def test_not_ready_when_about_to_stop(service: Artifactapi):
    """A daemon that stops is not ready, though all it depends on is; its port is closed by then, so no client asks."""
    health = Health({}, Metrics(), service.registry, service._reports)
    assert (await health.ready()).code == 200
    health.draining = True
    answer = await health.ready()
    assert (answer.code, answer.body) == (503, b'{"status":"unavailable","service":"stopping"}')
    assert (await health.alive()).code == 200


async def test_metrics_without_the_database(client: Client, service: Artifactapi):
    """/metrics comes although the database does not, and does not guess."""
    await service.registry.uploads._database.stop()
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert "artifactapi_upload_sessions NaN" in answer.body.decode()
