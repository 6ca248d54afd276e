"""JSON of other servers: small, and from exactly where it is said to be."""

from __future__ import annotations

import json
from typing import Any

from artifactapi.upstream.answer import Answer
from artifactapi.upstream.body import Body
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken

MOST_BYTES = 128 * 1024
"""Several times what issuers have; what takes the reactor's time is parsing it."""
HEADERS: dict[str | bytes, str | bytes] = {"Accept": "application/json", "User-Agent": "artifactapi"}


class FetchFailed(Exception):
    """It did not come, or is not what it should be; the message says what was wrong."""


async def fetch_json(connections: Connections, url: str, seconds: float) -> Any:
    """The JSON at that URL, plain and from there: no redirect is followed, nothing compressed is taken.

    Raises FetchFailed, and whatever a connection may end with. `seconds` is the most that each step may take; whoever
    calls it sets a time for all: cancelling it closes the connection.
    """
    try:
        content = await _fetch(connections, url, seconds)
    except Broken as error:
        raise FetchFailed(f"the answer of {url} is of no use: {error.kind}") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise FetchFailed(f"{url} is not JSON") from None


async def _fetch(connections: Connections, url: str, seconds: float) -> bytes:
    client = connections.client(seconds)
    response = await client.get(
        url, headers=HEADERS, allow_redirects=False, unbuffered=True, reactor=connections.reactor
    )
    answer = Answer(response, Body(connections.reactor, seconds))
    if answer.status != 200:
        answer.body.close()
        raise FetchFailed(f"{url} answers {answer.status}")
    return await answer.content(MOST_BYTES, seconds)
