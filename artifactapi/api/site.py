"""twisted.web with bodies that are read while they arrive.

Twisted shows a request to its resource when the last byte of its body is in, spooled to a file. Here the request is
dispatched when its headers are in, and `request.body` gives the bytes as they come.
"""

from __future__ import annotations

import os
import re
from typing import Any, AnyStr
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web import http, server

from artifactapi import __version__
from artifactapi.api.body import Body, Waiting
from artifactapi.api.channel import Channel, bounded
from artifactapi.api.limits import Limits
from artifactapi.oci import errors
from artifactapi.oci.errors import OciError, Unavailable

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
ABSOLUTE = re.compile(rb"\Ahttps?://[^/?]*", re.IGNORECASE)
"""What is before the path when a client takes us for a proxy (RFC 9112, 3.2.2); a password, perhaps."""
SERVER = b"artifactapi/" + __version__.encode()
PROBES = (b"/healthz", b"/readyz")
"""What a process that is full answers all the same: see Channel."""
TICK_SECONDS = 1.0
log = Logger()


class Request(server.Request):
    """A request whose handler may answer, or hang up on, a client that is still sending."""

    body: Body
    channel: Any
    site: Any
    transport: Any
    route = "none"
    caller: Any = None  # an access.caller.Caller, once it is known
    name: Any = None  # the ImageName that was asked for, which may stand for another one
    spelled = ""  # as the client writes it, behind the name of another registry
    document = b""  # the whole body, where it is a document of the management API
    started = 0.0
    request_id = ""
    # While a thread sends a file by itself: only it knows how much the client got.
    sending = False
    begun = False
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
        self.begun = True
        self.started = self.channel.site.reactor.seconds()
        self.method, self.uri, self.clientproto = command, ABSOLUTE.sub(b"", path), version
        self.path, _, query = self.uri.partition(b"?")
        self.args = http.parse_qs(query, True) if query else {}
        given = self.getHeader(b"x-request-id")
        self.request_id = given.decode() if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        self.site = self.channel.site
        self.site.active.add(self)
        if self.site.draining or self.channel.surplus:
            self.channel.persistent = False  # and its answer says so: no request is lost to a closing connection
        self.process()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        self.body.finish()
        if not self.begun:
            self.begin(command, path, version)
        elif self._drain_timer is not None:
            self._end_drain()
            super().finish()

    def process(self) -> None:
        """Set what every answer carries, and render."""
        self.setHeader(b"server", SERVER)
        self.setHeader(b"date", http.datetimeToString())
        self.setHeader(b"x-request-id", self.request_id.encode())
        if self.channel.surplus and self.path not in PROBES and self.site.is_over():
            self._refuse(self.site.too_many())
            return
        self.prepath: list[bytes] = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        self.render(self.site.resource)

    def getHeader(self, key: AnyStr) -> AnyStr | None:
        """The last header of that name, as text if the name is; what is no UTF-8 in it fits no grammar either."""
        values = self.requestHeaders.getRawHeaders(key if isinstance(key, bytes) else key.encode())
        if not values:
            return None
        if isinstance(key, bytes):
            return values[-1]
        return values[-1].decode("utf-8", "replace")

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
        if self.begun:
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
        return self.begun and self.body.paused

    def tick(self) -> None:
        """A second has passed: a body that comes too slowly is not waited for any longer."""
        if self.body.is_slow(self.site.limits.body_rate):
            self.body.give_up()

    def ended(self) -> None:
        """Tell the site, once."""
        if self.begun and self in self.site.active:
            self.site.active.discard(self)
            self.site.observe(self)

    def _refuse(self, error: OciError) -> None:
        body = errors.body([error])
        self.setResponseCode(error.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
        for name, value in headers.items():
            self.setHeader(name, value)
        self.write(body)
        self.finish()

    def _abandon(self) -> None:
        self._end_drain()
        self.channel.transport.abortConnection()

    def _end_drain(self) -> None:
        timer, self._drain_timer = self._drain_timer, None
        if timer is not None and timer.active():
            timer.cancel()


class Site(server.Site):
    """The site: its channels, the requests that run, and who is told of those that ended."""

    requestFactory = Request
    protocol: Any

    def __init__(self, resource: Any, observe: Any, reactor: Any, limits: Limits) -> None:
        super().__init__(resource, timeout=limits.idle_seconds, reactor=reactor)
        self.reactor = reactor
        self.observe = observe
        self.limits = limits
        self.protocol = bounded(limits.head_bytes)
        self.waiting = Waiting()
        self.active: set[Request] = set()
        # Writes go on when their client has gone.
        self.writing: set[Request] = set()
        self.channels: set[Channel] = set()
        self.draining = False
        self.turned_away = 0
        self._ticking = LoopingCall(self.tick)
        self._ticking.clock = reactor

    def startFactory(self) -> None:
        """Begin to look after the connections."""
        super().startFactory()
        self._ticking.start(TICK_SECONDS, now=False)

    def stopFactory(self) -> None:
        """No new ones come; those that are left are the affair of who stops us."""
        self._ticking.stop()
        super().stopFactory()

    def tick(self) -> None:
        """A second has passed. One timer for all: a timer for each request would cost each request."""
        for channel in list(self.channels):
            try:
                channel.tick()
            except Exception:  # LoopingCall would end with its first error
                log.failure("a connection could not be looked after")
        if self.turned_away:
            log.warn("{count} connections turned away: too many at a time", count=self.turned_away)
            self.turned_away = 0

    def is_full(self, more: int = 0) -> bool:
        """Whether another connection would be beyond the bound, by more than `more`."""
        return 0 < self.limits.connections <= len(self.channels) - more

    def is_over(self) -> bool:
        """Whether there are connections beyond the bound."""
        return 0 < self.limits.connections < len(self.channels)

    def too_many(self) -> Unavailable:
        """The error for a connection beyond the bound."""
        return Unavailable("too many connections at the moment", headers={"Retry-After": "5"})

    def log(self, request: Any) -> None:
        """Nothing: `observe` logs."""

    def close_idle(self) -> None:
        """Close the connections that wait for a request, and let the others be their last."""
        for channel in list(self.channels):
            if channel.requests:
                channel.persistent = False
            else:
                channel.loseConnection()
