"""Fixtures: bad upstreams, and clients of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import BrowserLikePolicyForHTTPS

from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.origin import Origin
from artifactapi.upstream.upstream import Upstream
from tests.e2e.tls import make_certificate
from tests.upstream.scripted import Scripted

Client = Callable[..., Upstream]


@pytest_twisted.async_yield_fixture
async def connections():
    """The process' connections to upstreams."""
    from twisted.internet import reactor

    made = Connections(reactor)
    yield made
    await made.close()


@pytest.fixture
def observed() -> list[tuple]:
    """What was told of requests: operation, status, requests that remain."""
    return []


@pytest.fixture
def client(scripted: Scripted, connections: Connections, threads: Threads, observed: list[tuple]) -> Client:
    """Makes clients of the upstream, with such settings."""

    def observe(operation: str, status: int | None, seconds: float, remaining: int | None) -> None:
        assert seconds >= 0
        observed.append((operation, status, remaining))

    def make(url: str = scripted.url, **settings: object) -> Upstream:
        return Upstream(Origin(url, **settings), connections, threads, observe)

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A file with a key and a certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls_scripted(certificate: Path) -> Iterator[Scripted]:
    """An upstream with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Scripted(context=context)
    yield server
    server.close()


@pytest_twisted.async_yield_fixture
async def tls_connections(certificate: Path):
    """Connections that trust its certificate."""
    from twisted.internet import reactor

    root = trustRootFromCertificates([Certificate.loadPEM(certificate.read_bytes())])
    connections = Connections(reactor, BrowserLikePolicyForHTTPS(root))
    yield connections
    await connections.close()


@pytest.fixture
def tls_upstream(tls_scripted: Scripted, tls_connections: Connections, threads: Threads) -> Upstream:
    """A client of it."""
    return Upstream(Origin(tls_scripted.url), tls_connections, threads, lambda *observed: None)


@pytest.fixture
def upstream(client: Client) -> Upstream:
    """One without credentials."""
    return client()
