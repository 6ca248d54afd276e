"""One listening socket for several processes: the first one accepts, and hands the connections out in turn.

A socket that all of them listen on would be simpler, and useless: whoever is awake takes all connections. An endpoint
of Twisted asks its reactor for a port; Binding stands for the reactor in the first process, Adoption in a worker.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

ENDPOINTS = ("tcp", "tcp6", "ssl")
"""Those whose ports these two can make."""


@implementer(IReadDescriptor)
class Door:
    """An address of ours: nobody can connect before it is open."""

    def __init__(self, bound: socket.socket, backlog: int, reactor: Any) -> None:
        self._bound = bound
        self._backlog = backlog
        self._reactor = reactor
        kind = IPv6Address if bound.family == socket.AF_INET6 else IPv4Address
        self.address = kind("TCP", *bound.getsockname()[:2])

    def open(self, offer: Callable[[socket.socket], bool]) -> None:
        """Accept connections, and offer them. When an offer says no, none are accepted until the next `open`."""
        self._offer = offer
        self._bound.listen(self._backlog)
        self._reactor.addReader(self)

    def close(self) -> None:
        """Let go of the address."""
        self._reactor.removeReader(self)
        self._bound.close()

    def doRead(self) -> None:
        """Somebody connects."""
        with suppress(OSError):  # he has gone again
            connection, _ = self._bound.accept()
            with connection:
                if not self._offer(connection):
                    self._reactor.removeReader(self)

    def fileno(self) -> int:
        """The socket's."""
        return self._bound.fileno()

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "door"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going away."""


class Binding:
    """Makes a door instead of a port."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> Door:
        """The door. Raises CannotListenError."""
        bound = socket.socket(socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((interface, port))
        except (OSError, OverflowError) as error:
            bound.close()
            raise CannotListenError(interface, port, error) from error
        bound.setblocking(False)
        return Door(bound, backlog, self._reactor)

    def listenSSL(self, port: int, factory: Factory, contextFactory: object, **options: Any) -> Door:
        """The same: TLS is the workers'."""
        return self.listenTCP(port, factory, **options)


@implementer(IReadDescriptor)
class Entrance:
    """A worker's port: the connections that it is handed."""

    def __init__(self, handed: socket.socket, factory: Any, reactor: Any) -> None:
        self._handed = handed
        self._factory = factory
        self._reactor = reactor
        factory.doStart()
        reactor.addReader(self)

    def getHost(self) -> None:
        """The address is the first process' affair."""

    def stopListening(self) -> Deferred[None]:
        """Take no more."""
        self._reactor.removeReader(self)
        self._handed.close()
        self._factory.doStop()
        return succeed(None)

    def doRead(self) -> None:
        """One is handed over, or the first process has gone."""
        data, descriptors, *_ = socket.recv_fds(self._handed, 1, 1)
        if not data:
            self._reactor.removeReader(self)
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection, suppress(OSError):  # its client has gone
                connection.setblocking(False)
                self._reactor.adoptStreamConnection(descriptor, connection.family, self._factory)

    def fileno(self) -> int:
        """The socket's."""
        return self._handed.fileno()

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "entrance"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going away."""


class Adoption:
    """Makes an entrance instead of a port."""

    def __init__(self, handed: socket.socket, reactor: Any) -> None:
        self._handed = handed
        self._reactor = reactor

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Entrance:
        """The entrance."""
        return Entrance(self._handed, factory, self._reactor)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, **options: Any) -> Entrance:
        """The entrance, with TLS."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), **options)
