"""Messages between the first process and a worker: a word and its value."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure


class Channel(Int32StringReceiver):
    """One end of a pair of sockets. `lost` is called when the process at the other end has gone."""

    MAX_LENGTH = 64 * 1024 * 1024  # bytes, of a worker's metrics at the most

    def __init__(self, received: Callable[[str, Any], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost

    @classmethod
    def over(
        cls, end: socket.socket, received: Callable[[str, Any], None], lost: Callable[[], None], reactor: Any
    ) -> Channel:
        """The channel over this end, which is taken over."""
        made = cls(received, lost)
        end.setblocking(False)
        reactor.adoptStreamConnection(end.fileno(), end.family, Factory.forProtocol(lambda: made))
        end.close()  # the reactor has its own descriptor
        return made

    def tell(self, word: str, value: object = None) -> None:
        """Send a message."""
        self.sendString(pickle.dumps((word, value)))

    def stringReceived(self, data: bytes) -> None:
        """A message is whole."""
        word, value = pickle.loads(data)  # noqa: S301 only the process that we started, or that started us, has the other end
        self._received(word, value)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The other process has gone."""
        self._lost()
