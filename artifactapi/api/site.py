"""twisted.web with bodies that are read while they arrive.

Twisted shows a request to its resource when the last byte of its body is in, spooled to a file. Here the request is
dispatched when its headers are in, and `request.body` gives the bytes as they come.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall
from twisted.web import http, server

from artifactapi import __version__
from artifactapi.api.body import Body, Waiting
from artifactapi.oci import errors

BUFFER = 512 * 1024
"""Bytes of one recv() while a large body comes; Twisted's 64 KiB cost a third more CPU."""
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
TLS_HANDSHAKE = b"\x16\x03"
SERVER = b"artifactapi/" + __version__.encode()


class Request(server.Request):
    """A request whose handler may answer, or hang up on, a client that is still sending."""

    body: Body
    channel: Any
    site: Any
    transport: Any
    route = "none"
    caller: Any = None  # an access.caller.Caller, once it is known
    started = 0.0
    request_id = ""
    # While a thread sends a file by itself: only it knows how much the client got.
    sending = False
    _begun = False
    _drain_timer: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """The headers are in."""
        self.body = Body(self.channel.transport, length, self.channel.site.waiting)

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        self.body.feed(data)
        if self._drain_timer is not None and self.body.received > DRAIN_BYTES:
            self._abandon()

    def begin(self, command: bytes, path: bytes, version: bytes) -> None:
        """Dispatch, with or without a body to come."""
        self._begun = True
        self.started = self.channel.site.reactor.seconds()
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = path.partition(b"?")
        self.args = http.parse_qs(query, True) if query else {}
        given = self.getHeader(b"x-request-id")
        self.request_id = given.decode() if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        self.site = self.channel.site
        self.site.active.add(self)
        if self.site.draining:
            self.channel.persistent = False  # and its answer says so: no request is lost to a closing connection
        self.process()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        self.body.finish()
        if not self._begun:
            self.begin(command, path, version)
        elif self._drain_timer is not None:
            self._end_drain()
            super().finish()

    def process(self) -> None:
        """Set what every answer carries, and render."""
        self.setHeader(b"server", SERVER)
        self.setHeader(b"date", http.datetimeToString())
        self.setHeader(b"x-request-id", self.request_id.encode())
        self.prepath: list[bytes] = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        self.render(self.site.resource)

    def write(self, data: bytes) -> None:
        """A piece of the answer; one that comes before the body's end is the last on its connection."""
        last = not self._disconnected and not (self.body.complete and self.channel.persistent)
        if last and not self.startedWriting:
            self.setHeader(b"connection", b"close")
        super().write(data)

    def finish(self) -> None:
        """End the answer; when it came before the body's end, only after the rest was read and dropped."""
        if self._disconnected:
            return
        if self.body.complete:
            super().finish()
            return
        self.body.discard()
        self.channel.persistent = False
        if not self.startedWriting:
            self.write(b"")
        # Closing now would reset the connection, and the client might never see the answer.
        self._drain_timer = self.site.reactor.callLater(DRAIN_SECONDS, self._abandon)

    def connectionLost(self, reason: Any) -> None:
        """The client hung up. What has come of its body can still be read: an upload keeps it."""
        self._end_drain()
        self._disconnected = True  # first: a reader that is told below may answer at once
        if self._begun:
            self.body.lose()
        super().connectionLost(reason)
        if not self.sending:
            self.ended()

    def _cleanup(self) -> None:
        self.body.discard()  # of a body that no handler wanted
        super()._cleanup()
        self.ended()

    def is_held(self) -> bool:
        """Whether the client sends nothing because we take nothing."""
        return self._begun and self.body.paused

    def ended(self) -> None:
        """Tell the site, once."""
        if self._begun and self in self.site.active:
            self.site.active.discard(self)
            self.site.observe(self)

    def _abandon(self) -> None:
        self._end_drain()
        self.channel.transport.abortConnection()

    def _end_drain(self) -> None:
        timer, self._drain_timer = self._drain_timer, None
        if timer is not None and timer.active():
            timer.cancel()


class Channel(http.HTTPChannel):
    """Dispatches when the headers are in, and says what is wrong with a malformed request in JSON."""

    site: Any
    transport: Any
    totalHeadersSize = 32 * 1024
    _fresh = True

    def dataReceived(self, data: bytes) -> None:
        """Bytes; docker and others try TLS first, and would wait ten seconds for an answer to their ClientHello."""
        if self._fresh and data.startswith(TLS_HANDSHAKE):
            self._respondToBadRequestAndDisconnect()
            return
        self._fresh = False
        super().dataReceived(data)

    def connectionMade(self) -> None:
        """Be known to the site: a graceful stop closes who is idle."""
        super().connectionMade()
        self.site.channels.add(self)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        """Be forgotten."""
        self.site.channels.discard(self)
        super().connectionLost(reason)

    def allHeadersReceived(self) -> None:
        """The end of the headers: dispatch a request that has a body (one without is dispatched by Twisted, next)."""
        super().allHeadersReceived()
        if self.length != 0:
            if self.length is None or self.length > BUFFER:
                self.transport.bufferSize = BUFFER
            self.requests[-1].begin(self._command, self._path, self._version)

    def timeoutConnection(self) -> None:
        """Nothing came for `timeOut` seconds: not the client's fault while its socket is paused."""
        if self.requests and self.requests[-1].is_held():
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def loseConnection(self) -> None:
        """Close when all is sent; a client that does not take it is cut, as an idle one is."""
        self.setTimeout(self.site.timeOut)  # our own timeOut is None while a request runs
        super().loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if not (self.requests and self.requests[-1].startedWriting):
            body = errors.body([errors.BadRequest("malformed HTTP request")])
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
        self.loseConnection()


class Site(server.Site):
    """The site: its channels, the requests that run, and who is told of those that ended."""

    requestFactory = Request
    protocol: Any = Channel

    def __init__(self, resource: Any, observe: Any, reactor: Any, idle_seconds: int = 60) -> None:
        super().__init__(resource, timeout=idle_seconds, reactor=reactor)
        self.reactor = reactor
        self.observe = observe
        self.waiting = Waiting()
        self.active: set[Request] = set()
        # Writes go on when their client has gone.
        self.writing: set[Request] = set()
        self.channels: set[Channel] = set()
        self.draining = False

    def log(self, request: Any) -> None:
        """Nothing: `observe` logs."""

    def close_idle(self) -> None:
        """Close the connections that wait for a request, and let the others be their last."""
        for channel in list(self.channels):
            if channel.requests:
                channel.persistent = False
            else:
                channel.loseConnection()
