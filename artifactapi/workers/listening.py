"""One listening socket for several processes.

An endpoint of Twisted asks its reactor for a port. These two stand for the reactor: the first process only binds the
address, and the workers listen on what it has bound, the first of them when it can serve.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

ENDPOINTS = ("tcp", "tcp6", "ssl")
"""Those whose ports these two can make."""


class Binding:
    """Makes a socket that is bound, for others to listen on."""

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> socket.socket:
        """The socket. Raises CannotListenError."""
        bound = socket.socket(socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((interface, port))
        except (OSError, OverflowError) as error:
            bound.close()
            raise CannotListenError(interface, port, error) from error
        bound.setblocking(False)
        return bound

    def listenSSL(self, port: int, factory: Factory, contextFactory: object, **options: Any) -> socket.socket:
        """The same: TLS is the workers'."""
        return self.listenTCP(port, factory, **options)


class Adoption:
    """Makes a port of a socket that another process has bound."""

    def __init__(self, bound: socket.socket, reactor: Any) -> None:
        self._bound = bound
        self._reactor = reactor

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """The port. Raises OSError."""
        self._bound.listen(backlog)  # again, if another worker does already: that changes nothing
        adopted = self._reactor.adoptStreamPort(self._bound.fileno(), self._bound.family, factory)
        self._bound.close()  # the port has its own descriptor
        return adopted

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, **options: Any) -> Any:
        """The port, with TLS."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), **options)
