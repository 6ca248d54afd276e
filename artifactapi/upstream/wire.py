"""One request, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from artifactapi import __version__
from artifactapi.upstream.address import Address
from artifactapi.upstream.answer import Answer
from artifactapi.upstream.body import Body
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken, UpstreamError
from artifactapi.upstream.failures import explained
from artifactapi.upstream.origin import Origin

Operation = Literal["manifest", "head", "blob", "tags", "referrers", "token"]
Observe = Callable[[Operation, int | None, float, int | None], None]
"""Told of each request: what it was for, the status (None: no answer came), the seconds until the headers were
there, and how many more requests the upstream allows, if it says so."""
T = TypeVar("T")
_AGENT = f"artifactapi/{__version__}"


class Wire:
    """Sends requests as it is told to: no redirects, no credentials of its own."""

    def __init__(self, origin: Origin, connections: Connections, observe: Observe) -> None:
        self.reactor = connections.reactor
        self._client = connections.client(origin.connect_timeout)
        self._origin = origin
        self._observe = observe

    async def send(self, operation: Operation, method: str, address: Address, headers: Mapping[str, str]) -> Answer:
        """The answer, when its headers are there. Raises Broken."""
        begun = self.reactor.seconds()
        status = remaining = None
        try:
            response = await self._response(method, address, headers)
            answer = Answer(response, Body(self.reactor, self._origin.idle_timeout))
            status, remaining = answer.status, answer.remaining
        except UpstreamError as error:
            status = error.status
            raise
        finally:
            self._observe(operation, status, self.reactor.seconds() - begun, remaining)
        return answer

    async def content(self, answer: Answer, most: int) -> bytes:
        """The whole body of an answer, which gets as long as its headers did. Raises Broken."""
        return await answer.content(most, self._origin.response_timeout)

    async def _response(self, method: str, address: Address, headers: Mapping[str, str]) -> IResponse:
        pending = self._client.request(
            method,
            str(address),
            headers=Headers({name: [value] for name, value in {"User-Agent": _AGENT, **headers}.items()}),
            allow_redirects=False,
            unbuffered=True,
            reactor=self.reactor,
        )
        seconds = self._origin.connect_timeout + self._origin.response_timeout
        answered = cancellable(pending)
        answered.addTimeout(seconds, self.reactor, _too_late)
        try:
            return await answered
        except (UpstreamError, CancelledError):
            raise
        except Exception as error:
            raise explained(error, "reset") from error


def cancellable(pending: Deferred[T]) -> Deferred[T]:
    """`pending`, which raises CancelledError when it is cancelled: a request of Twisted's ends with whatever was
    going on then, as a name nobody knows while it was looked up."""

    def give_up(outer: Deferred[T]) -> None:
        outer.errback(CancelledError())
        pending.cancel()

    outer: Deferred[T] = Deferred(give_up)
    pending.addCallbacks(
        lambda result: None if outer.called else outer.callback(result),
        lambda failure: None if outer.called else outer.errback(failure),
    )
    return outer


def _too_late(result: object, seconds: float) -> NoReturn:
    raise Broken("timeout")
