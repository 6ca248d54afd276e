"""JSON of other servers: small, and from exactly where it is said to be."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

MOST_BYTES = 128 * 1024
"""Several times what issuers have; what takes the reactor's time is parsing it."""
HEADERS: dict[str | bytes, str | bytes] = {"Accept": "application/json", "User-Agent": "artifactapi"}


class FetchFailed(Exception):
    """It did not come, or is not what it should be; the message says what was wrong."""


async def fetch_json(reactor: Any, url: str) -> Any:
    """The JSON at that URL; no redirect is followed. Raises FetchFailed, and whatever a connection may end with.

    Whoever calls it sets a time: cancelling it closes the connection.
    """
    agent = Uncompressed(Agent(reactor))
    response = await treq.get(url, headers=HEADERS, agent=agent, allow_redirects=False, unbuffered=True)
    body = Body()
    response.deliverBody(body)
    if response.code != 200:
        body.close()
        raise FetchFailed(f"{url} answers {response.code}")
    try:
        return json.loads(await body.whole)
    except (ValueError, RecursionError):
        raise FetchFailed(f"{url} is not JSON") from None


@implementer(IAgent)
class Uncompressed:
    """An agent without compression: a few compressed bytes may stand for gigabytes."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """One request. What comes compressed all the same stays so."""
        sent = Headers() if headers is None else headers.copy()
        sent.removeHeader(b"accept-encoding")
        return self._agent.request(method, uri, sent, bodyProducer).addCallback(as_it_is)


def as_it_is(response: IResponse) -> IResponse:
    """The same, so that treq does not decode it."""
    response.headers.removeHeader(b"content-encoding")
    return response


class Body(Protocol):
    """Collects up to MOST_BYTES in `whole`, which fails beyond."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._closed = False
        self.whole: Deferred[bytes] = Deferred(lambda _: self.close())

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._received += data
        if len(self._received) > MOST_BYTES and not self._closed:
            self.close()
            self.whole.errback(FetchFailed(f"the answer has more than {MOST_BYTES} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of it."""
        if self._closed:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._received))
        else:
            self.whole.errback(reason)

    def close(self) -> None:
        """No more of it. Whatever the server does, the connection goes: TLS would wait for its answer."""
        self._closed = True
        self._received.clear()
        assert self.transport is not None
        self.transport.stopProducing()  # type: ignore[attr-defined]  # a producer too
