"""A blob that nobody has but an upstream."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from tests.client import Client, digest_of
from tests.e2e.content import MIB
from tests.fleet.pushes import PART
from tests.upstream.scripted import Exchange, Scripted, head, partly

SIZE = 2 * PART + MIB + 7


class Cold:
    """It is in a remote repo of its own. When it is asked for first, `event` happens in the middle of it."""

    def __init__(self, client: Client, scripted: Scripted) -> None:
        self.content = os.urandom(SIZE)
        self.event: Callable[[], None] = lambda: None
        self.ranges: list[str | None] = []
        digest = digest_of(self.content)
        scripted.on("GET .*/blobs/", self._send)
        repo = {"name": f"cold-{digest[-12:]}", "package_type": "docker", "repo_type": "remote"}
        settings = {"upstream": scripted.url, "backoff": 1}
        assert client.send("POST", "/api/v1/repos", json.dumps({**repo, "settings": settings}).encode()).status == 201
        self.path = f"/v2/{repo['name']}/cold/blobs/{digest}"

    def _send(self, exchange: Exchange) -> None:
        self.ranges.append(exchange.seen.headers.get("range"))
        if len(self.ranges) > 1:
            partly(self.content)(exchange)
            return
        exchange.send(head(200, content_length=SIZE) + self.content[: PART + MIB])
        self.event()
        exchange.send(self.content[PART + MIB :])
