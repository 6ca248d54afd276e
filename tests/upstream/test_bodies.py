"""Bodies that nobody reads to their end."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from artifactapi.upstream.body import DISCARD_SECONDS, Body


def discarded() -> tuple[Clock, StringTransport, Body]:
    """One of which nobody wants the rest."""
    clock, transport = Clock(), StringTransport()
    body = Body(clock, 30)
    body.makeConnection(transport)
    body.discard()
    return clock, transport, body


def test_a_rest_that_does_not_come():
    """What nobody wants is waited for only for a while, then its connection is closed."""
    clock, transport, _ = discarded()
    clock.advance(DISCARD_SECONDS - 0.1)
    assert not transport.disconnecting
    clock.advance(0.2)
    assert transport.disconnecting


def test_a_rest_that_comes():
    """If it comes in time, the connection stays, and nothing waits any more."""
    clock, transport, body = discarded()
    body.dataReceived(b"rest")
    body.connectionLost(Failure(ResponseDone()))
    assert (transport.disconnecting, clock.getDelayedCalls()) == (False, [])
