"""Room for so many at once."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Room:
    """Who finds none waits his turn, and asks nobody meanwhile."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._waiting: deque[Deferred[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether who enters now has to wait."""
        return not self._left

    async def enter(self) -> None:
        """Return when there is room: those who came first go first. Not to be cancelled."""
        if self._left:
            self._left -= 1
            return
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        await waiter

    def leave(self) -> None:
        """Make room for the next one."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._left += 1

    def open(self) -> None:
        """Let all in who wait."""
        while self._waiting:
            self.leave()
