"""Bytes of a store to a client: os.sendfile where the transport is plain TCP, else written with back-pressure."""

from __future__ import annotations

import os
import select
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer, IWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from artifactapi.api.site import Request
from artifactapi.objects.interface import IObjectReader, ObjectMissing
from artifactapi.oci.errors import OciError
from artifactapi.threads import Threads

SLICE = 16 * 1024 * 1024
"""Bytes a thread sends before the next download gets its turn."""
SMALL = 256 * 1024
"""Bytes up to which one read and one write, together with the headers, cost less than os.sendfile."""
STALL_SECONDS = 60.0
"""How long a client may take nothing."""
PATIENCE_MS = 10
"""How long a thread waits for the socket itself, before the reactor does: a fast client needs no hop then."""
log = Logger()


class Downloads:
    """Sends the bytes of readers, with a pool of threads for os.sendfile."""

    def __init__(self, threads: Threads, reactor: Any) -> None:
        self._threads = threads
        self._reactor = reactor

    async def send(self, request: Request, reader: IObjectReader) -> None:
        """All bytes of `reader` as the request's body; its status and headers are set. Closes the reader.

        A client that hangs up or stalls ends it quietly; so does a file that cannot be read to its end, with the
        connection. Not to be cancelled: a descriptor must not be closed under the thread that uses it.
        """
        plain = isinstance(request.transport, tcp.Connection) and not request.transport.TLS
        try:
            part: IObjectReader | None = reader
            while part is not None and not request._disconnected:
                if plain and part.descriptor is not None and part.length > SMALL:
                    await self._send_file(request, part)
                else:
                    await self._write(request, part)
                part = part.rest
        except (ConnectionLost, ConnectionError) as error:
            log.info("request {id}: download ended early: {error}", id=request.request_id, error=str(error))
            abort(request)
        except (OSError, OciError, ObjectMissing) as error:
            log.error("request {id}: download cut: {error}", id=request.request_id, error=str(error))
            abort(request)
        finally:
            reader.close()

    async def _send_file(self, request: Request, reader: IObjectReader) -> None:
        request.sending = True
        try:
            await self._send_slices(request, reader)
        finally:
            request.sending = False
            if request._disconnected:
                request.ended()

    async def _send_slices(self, request: Request, reader: IObjectReader) -> None:
        transport = request.transport
        request.write(b"")
        socket = Writable(os.dup(transport.fileno()), self._reactor)
        request.notifyFinish().addErrback(lambda _: socket.wake())
        try:
            while transport.dataBuffer or transport._tempDataBuffer:  # the headers must leave first
                await socket.ready()
            at, end = reader.start, reader.start + reader.length
            while at < end and not request._disconnected:
                sent = await self._threads.run(pump, socket.fileno(), reader.descriptor, at, min(SLICE, end - at))
                at += sent
                request.sentLength += sent
                if not sent:
                    await socket.ready()
        finally:
            socket.close()

    async def _write(self, request: Request, reader: IObjectReader) -> None:
        flow = Flow(self._reactor)
        request.registerProducer(flow, True)
        request.notifyFinish().addErrback(lambda _: flow.resumeProducing())
        try:
            sent = 0
            while not request._disconnected and (data := await reader.read()):
                request.write(data)
                sent += len(data)
                await flow.ready()
            left = reader.rest.length if reader.rest is not None else 0
            if sent + left < reader.length and not request._disconnected:
                raise OSError("the stored object is too short")
        finally:
            if not request._disconnected:
                request.unregisterProducer()


def pump(socket: int, file: int, start: int, length: int) -> int:
    """Send up to `length` bytes until the socket takes no more for PATIENCE_MS; how many were sent. For a thread.

    Raises OSError when the client is gone or the file ends.
    """
    poller = select.poll()
    poller.register(socket, select.POLLOUT)
    sent = 0
    while sent < length:
        try:
            count = os.sendfile(socket, file, start + sent, length - sent)
        except BlockingIOError:
            if not poller.poll(PATIENCE_MS):
                break
        else:
            if not count:
                raise OSError("the stored object is too short")
            sent += count
    return sent


def abort(request: Request) -> None:
    """Cut the connection: the answer's length was announced and cannot be met."""
    if not request._disconnected:
        request.transport.abortConnection()


async def soon(waiter: Deferred[None], reactor: Any) -> None:
    """Wait for a client to take bytes. Raises ConnectionLost after STALL_SECONDS."""
    stalled = reactor.callLater(STALL_SECONDS, waiter.errback, ConnectionLost("the client takes no more bytes"))
    try:
        await waiter
    finally:
        if stalled.active():
            stalled.cancel()


@implementer(IWriteDescriptor)
class Writable:
    """Waits until a socket takes more bytes. Owns the descriptor, a duplicate: the transport watches its own."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self._waiter: Deferred[None] | None = None

    async def ready(self) -> None:
        """Return when it is writable. Raises ConnectionLost after STALL_SECONDS."""
        waiter: Deferred[None] = Deferred()
        self._waiter = waiter
        self._reactor.addWriter(self)
        try:
            await soon(waiter, self._reactor)
        finally:
            self._waiter = None
            self._reactor.removeWriter(self)

    def wake(self) -> None:
        """End the wait, if there is one."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def doWrite(self) -> None:
        """The reactor: it is writable."""
        self.wake()

    def connectionLost(self, reason: Any) -> None:
        """The reactor: the socket broke."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.errback(ConnectionLost("the client is gone"))

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "download"

    def close(self) -> None:
        """Close the descriptor. It must not be named to the reactor any more: its number may soon be another's."""
        os.close(self._descriptor)


@implementer(IPushProducer)
class Flow:
    """Lets a writer wait while the transport's buffer is full."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._paused: Deferred[None] | None = None

    async def ready(self) -> None:
        """Return when the transport takes more. Raises ConnectionLost after STALL_SECONDS."""
        if self._paused is not None:
            try:
                await soon(self._paused, self._reactor)
            finally:
                self._paused = None

    def pauseProducing(self) -> None:
        """The transport: enough."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """The transport: more."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The transport: the connection is gone. The request's notifyFinish tells us too."""
