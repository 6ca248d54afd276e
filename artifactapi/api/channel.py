"""A connection: HTTP/1.1 as Twisted reads it, within bounds, and what is no request answered in JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from twisted.internet import tcp
from twisted.web import http

from artifactapi.oci import errors
from artifactapi.oci.errors import BadRequest, HeadTooLarge, OciError, RequestTimeout

BUFFER = 512 * 1024
"""Bytes of one recv() while a large body comes; Twisted's 64 KiB cost a third more CPU."""
TLS_HANDSHAKE = b"\x16\x03"
SURPLUS = 64
"""Connections beyond the bound whose request is read all the same."""
SURPLUS_SECONDS = 5
"""How long such a one may take to send it."""
LINGER_SECONDS = 2.0
"""How long a client may go on sending what was refused, until it has read why."""


class Channel(http.HTTPChannel):
    """Dispatches when the headers are in, and says what is wrong with a malformed request in JSON.

    A connection beyond the bound has its request read, if there are not too many of those, so that probes of an
    orchestrator are answered: a process that is full works, and to have it started again would make it worse. All
    else is told 503 there. Still further connections are told so at once, without their request.
    """

    site: Any
    transport: Any
    surplus = False
    _fresh = True
    _refused = False
    # Seconds since the first byte of a head that is not whole yet; of a surplus connection, since it came.
    _waited = 0

    def connectionMade(self) -> None:
        """Be known to the site: a graceful stop closes who is idle."""
        super().connectionMade()
        self.surplus = self.site.is_full()
        if self.site.is_full(SURPLUS):
            self._turn_away()
        else:
            self.site.channels.add(self)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        """Be forgotten."""
        self.site.channels.discard(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Bytes; docker and others try TLS first, and would wait ten seconds for an answer to their ClientHello."""
        if self._refused:
            return
        if self._fresh and data.startswith(TLS_HANDSHAKE):
            self._respondToBadRequestAndDisconnect()
            return
        self._fresh = False
        super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """One line alone is more than a head may have."""
        self.refuse(self._head_too_large())

    def allHeadersReceived(self) -> None:
        """The end of the headers: dispatch a request that has a body (one without is dispatched by Twisted, next)."""
        self._waited = 0
        super().allHeadersReceived()
        if self.length != 0:
            if self.length is None or self.length > BUFFER:
                self.transport.bufferSize = BUFFER
            self.requests[-1].begin(self._command, self._path, self._version)

    def tick(self) -> None:
        """A second has passed: neither a head nor a body may take for ever."""
        if self._refused or self.transport.disconnecting:
            return
        if self.requests and self.requests[-1].begun:
            self.requests[-1].tick()
        elif self.requests or self._buffer or self.surplus:
            self._waited += 1
            most = SURPLUS_SECONDS if self.surplus else self.site.limits.head_seconds
            if self._waited >= most:
                self.refuse(RequestTimeout(f"the request's head was not whole after {most} s"))

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

    def refuse(self, error: OciError) -> None:
        """Say why nothing more is read, unless an answer has begun, and close."""
        if self._refused:
            return
        self._refused = True
        self.clearLineBuffer()
        begun = bool(self.requests) and self.requests[-1].begun
        if not (begun and self.requests[-1].startedWriting):
            self.transport.write(on_the_wire(error))
        if begun:
            self.loseConnection()  # and so its handler is told
        else:
            self._linger()

    def _linger(self) -> None:
        """Close, but not the client's way to us: what was left unread would reset the connection, answer and all."""
        self.setTimeout(LINGER_SECONDS)
        self.transport.unregisterProducer()
        if isinstance(self.transport, tcp.Connection):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()  # TLS reads on until the client has said goodbye

    def _turn_away(self) -> None:
        self._refused = True
        self.site.turned_away += 1
        if isinstance(self.transport, tcp.Connection):
            self.transport.write(on_the_wire(self.site.too_many()))
            self.loseConnection()
        else:
            self.transport.abortConnection()  # a TLS handshake is too dear for this

    def _respondToBadRequestAndDisconnect(self) -> None:
        too_large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(self._head_too_large() if too_large else BadRequest("malformed HTTP request"))

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"the request's head has at most {self.totalHeadersSize} bytes and {self.maxHeaders} headers"
        )


def bounded(head_bytes: int) -> type[Channel]:
    """The class of channels whose requests have heads of so many bytes.

    A class, since attributes of each instance would be more than CPython shares the keys of: a twentieth of the way
    of a request through Twisted.
    """
    return type("Channel", (Channel,), {"totalHeadersSize": head_bytes, "MAX_LENGTH": head_bytes})


def on_the_wire(error: OciError) -> bytes:
    """The whole answer, the last one of its connection, where there is no request that could give it."""
    body = errors.body([error])
    headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close", **error.headers}
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join((*lines, "", "")).encode("ascii") + body
