"""/readyz and /metrics when something is missing."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock

from artifactapi.api.health import PATIENCE, Check, Health
from artifactapi.metrics import Metrics
from artifactapi.oci.errors import Unavailable
from artifactapi.service import Artifactapi
from tests.client import Client


async def nothing():
    """No backlog."""
    return {}


async def test_not_ready_when_about_to_stop(service: Artifactapi):
    """A daemon that stops is not ready, though all it depends on is; its port is closed by then, so no client asks."""
    health, request = Health({}, Metrics(), service.registry, nothing, service._reports, reactor), None
    assert (await health.ready(request)).code == 200
    health.draining = True
    answer = await health.ready(request)
    assert (answer.code, answer.body) == (503, b'{"status":"unavailable","service":"stopping"}')
    assert (await health.alive(request)).code == 200


async def test_metrics_without_the_database(client: Client, service: Artifactapi):
    """/metrics comes although the database does not, and does not guess."""
    await service.registry.uploads._database.stop()
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert "artifactapi_upload_sessions NaN" in answer.body.decode()


class Part:
    """Something that is asked whether it works, and answers when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Deferred[None] = Deferred()

    async def ask(self) -> None:
        """A question."""
        self.asked += 1
        await self.answer


@pytest.mark.parametrize("error, state", [(None, "ok"), (Unavailable("it is away"), "it is away")])
async def test_those_who_ask_together_are_told_together(error, state):
    """However many ask at once, the part is asked once; and again by those who ask after its answer."""
    part = Part()
    check = Check(part.ask, Clock())
    asking = [Deferred.fromCoroutine(check.state()) for _ in range(5)]
    first, part.answer = part.answer, Deferred()
    first.errback(error) if error else first.callback(None)
    assert [told for _, told in await DeferredList(asking)] == [state] * 5
    assert part.asked == 1
    Deferred.fromCoroutine(check.state())
    assert part.asked == 2


async def test_a_part_that_hangs():
    """A part that does not answer in time is not ready; it is not asked again before it has answered."""
    part, clock = Part(), Clock()
    check = Check(part.ask, clock)
    asking = [Deferred.fromCoroutine(check.state()) for _ in range(2)]
    clock.advance(PATIENCE)
    assert [told for _, told in await DeferredList(asking)] == ["does not answer in time"] * 2
    late = Deferred.fromCoroutine(check.state())
    assert part.asked == 1
    part.answer.callback(None)
    assert await late == "ok"
