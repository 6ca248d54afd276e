"""What a store of bytes does, and the errors it may raise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zope.interface import Attribute, Interface

State = dict[str, Any]
"""What a store must know to go on with an unfinished object; JSON, kept in the session's row."""

Checkpoint = Callable[[State, int], Awaitable[None]]
"""Told of bytes that became durable before `settle`: the state to go on from, and how many bytes it describes."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An object that is there for good: its key, and whether something else may still be staged beside it."""

    key: str
    leftovers: bool = False


class Superseded(Exception):
    """Another writer has taken the object over."""


class ObjectMissing(Exception):
    """There is nothing under that key."""


class IObjectReader(Interface):
    """The bytes of one object, or a range of them, in order."""

    length = Attribute("How many bytes it gives in all.")
    descriptor = Attribute(
        "A file descriptor positioned nowhere in particular, for os.sendfile; None if there is none."
    )
    start = Attribute("Where in the file behind `descriptor` the bytes begin.")
    rest = Attribute(
        "After its last bytes: the reader of what is left of `length`, which it closes; None if it is all."
    )

    async def read() -> bytes:
        """The next bytes, at most 1 MiB; b"" at the end."""

    def close() -> None:
        """Free what it holds. May be called twice."""


class IObjectWriter(Interface):
    """One writer of one unfinished object."""

    room = Attribute(
        "How many more bytes there may be before those so far can become the end of a checkpoint; None if none comes."
    )

    async def write(pieces: Sequence[bytes]) -> None:
        """Take these bytes; they may not be durable yet. Returns when the next may come (back-pressure).

        Raises Superseded, StoreFull, Unavailable.
        """

    async def settle(last: bool) -> State:
        """Make durable all that was written, and end this writer. Returns the state to go on from.

        `last`: seal it. No byte can follow, and `commit` has nothing left to move.
        """

    async def close() -> None:
        """End this writer; what was written since the last checkpoint may be lost. May be called after settle()."""


class IObjectStore(Interface):
    """Objects under keys. A key is never used for a second object, so a late delete hits nothing newer."""

    async def check() -> None:
        """Raises Unavailable or StoreFull if the store cannot take or give bytes."""

    def is_sealed(state: State) -> bool:
        """Whether `commit` takes this state: a writer has settled it as the last one, or this store needs no such."""

    async def writer(key: str, state: State, fence: int, checkpoint: Checkpoint) -> IObjectWriter:
        """Become the one writer of `key`, after the bytes `state` describes ({}: none yet).

        Of several, the one with the highest `fence` goes on; the others' bytes are not in the object. They get
        Superseded where the store can tell; else `checkpoint` tells them by raising it, or the session's row.
        """

    async def commit(key: str, state: State, fence: int) -> Committed:
        """Make the bytes a sealed `state` describes an object, durably. May be repeated.

        The key it is found under from now on is `key`, or begins with it.
        """

    async def open(key: str, start: int, length: int) -> IObjectReader:
        """`length` bytes of the object from `start` on. Raises ObjectMissing."""

    async def size(key: str) -> int | None:
        """How many bytes a committed object has; None if it is not there."""

    async def keys(after: str) -> list[str]:
        """Keys after `after` ("": from the first on), in order, under which anything is committed or staged; [] at the
        end. For checks: it may take long, and what comes and goes meanwhile may be in it or not."""

    async def url(key: str, seconds: int) -> str | None:
        """Where a client may get the object by itself for so long; None if this store has no such place."""

    async def delete(keys: Sequence[str]) -> frozenset[str]:
        """Delete these committed objects; one that is not there is no error. Returns those that could not be.

        Raises Unavailable when the store does not answer.
        """

    async def abort(key: str, keep: str | None) -> None:
        """Delete all that was staged or committed for `key`, except the object `keep`; nothing there is no error."""
