"""The connections to all upstreams, and what treq and Twisted must not do on them."""

from __future__ import annotations

from collections.abc import Iterable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from artifactapi.upstream.errors import Broken

MOST_HEAD = 64 * 1024
"""Bytes of the headers of an answer, and of informational answers before it."""
KEPT = 16
"""Idle connections to a server that are kept."""
KEPT_SECONDS = 60
_CONTENT = (200, 206)


class Connections:
    """The connections of this process to upstreams; `policy` says which certificates are trusted."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        self.reactor = reactor
        self._policy = policy or BrowserLikePolicyForHTTPS()
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT
        self._pool.cachedConnectionTimeout = KEPT_SECONDS

    def client(self, connect_timeout: float) -> HTTPClient:
        """A client on them that keeps no cookies and decodes nothing."""
        endpoints = _Endpoints(self.reactor, self._policy, connect_timeout)
        agent = Agent.usingEndpointFactory(self.reactor, endpoints, self._pool)
        return HTTPClient(_Plain(agent), IndexableCookieJar(DefaultCookiePolicy(allowed_domains=())))

    async def close(self) -> None:
        """Close those that are idle."""
        await self._pool.closeCachedConnections()


@implementer(IAgent)
class _Plain:
    """treq asks for gzip and unpacks it, whatever it is told; a digest is that of the bytes on the wire."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Ask for the bytes as they are."""
        headers = (headers or Headers()).copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_refuse_encoded)


def _refuse_encoded(response: IResponse) -> IResponse:
    coding = b",".join(response.headers.getRawHeaders(b"Content-Encoding", ()))
    response.headers.removeHeader(b"Content-Encoding")
    if response.code in _CONTENT and coding.strip().lower() not in (b"", b"identity"):
        response.deliverBody(_Refusal())
        raise Broken("encoding", status=response.code)
    return response


class _Refusal(Protocol):
    def connectionMade(self) -> None:
        assert self.transport
        self.transport.loseConnection()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, connect_timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout = connect_timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """TCP, with TLS for https."""
        endpoint = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, timeout=self._timeout)
        if uri.scheme == b"https":
            return _Endpoint(wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint))
        return _Endpoint(endpoint)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect, with a _Connection between the transport and the protocol of the factory."""
        wrapping = WrappingFactory(protocolFactory)
        wrapping.protocol = _Connection
        wrapping.noisy = protocolFactory.noisy = False
        connected: Deferred[Any] = self._endpoint.connect(wrapping)
        return connected.addCallback(lambda connection: connection.wrappedProtocol)


class _Connection(ProtocolWrapper):
    """What is between Twisted's HTTP client and the transport.

    Twisted bounds the length of a header, not their number: here the bytes are counted from a request's to the
    moment that the client pauses the transport, which it does when the headers are complete. And closing is
    aborting: TLS would wait for the other side's goodbye, behind all the bytes that nobody wants any more.
    """

    _head: int | None = None
    _lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone: TLS cannot be told to close it any more, though the pool does when its time is over."""
        self._lost = True
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if self._head is not None:
            self._head += len(data)
        super().dataReceived(data)
        if self._head is not None and self._head > MOST_HEAD:
            self.loseConnection()

    def write(self, data: bytes) -> None:
        """A part of a request."""
        self._head = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Parts of a request."""
        self._head = 0
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        """Headers are complete, or a body comes too fast."""
        self._head = None
        self._transport().pauseProducing()

    def loseConnection(self) -> None:
        """Close it now."""
        self.disconnecting = 1
        if not self._lost:
            self._transport().abortConnection()

    def _transport(self) -> Any:
        return self.transport
