"""What a store of bytes does, and the errors it may raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import Attribute, Interface

State = dict[str, Any]
"""What a store must know to go on with an unfinished object; JSON, kept in the session's row."""


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

    async def read() -> bytes:
        """The next bytes, at most 256 KiB; b"" at the end."""

    def close() -> None:
        """Free what it holds. May be called twice."""


class IObjectWriter(Interface):
    """One writer of one unfinished object."""

    async def write(pieces: Sequence[bytes]) -> None:
        """Take these bytes; they may not be durable yet. Returns when the next may come (back-pressure).

        Raises Superseded, StoreFull, Unavailable.
        """

    async def settle() -> State:
        """Make durable all that was written, and end this writer. Returns the state to go on from."""

    async def close() -> None:
        """End this writer; what was written since it began may be lost. May be called after settle()."""


class IObjectStore(Interface):
    """Objects under keys. A key is never used for a second object, so a late delete hits nothing newer."""

    async def check() -> None:
        """Raises Unavailable or StoreFull if the store cannot take or give bytes."""

    async def writer(key: str, state: State, fence: int) -> IObjectWriter:
        """Become the one writer of `key`, after the bytes `state` describes ({}: none yet).

        Of several, the one with the highest `fence` goes on; the others get Superseded and their bytes are not
        in the object.
        """

    async def commit(key: str, state: State, fence: int) -> None:
        """Make the bytes `state` describes the object `key`, durably. May be repeated."""

    async def open(key: str, start: int, length: int) -> IObjectReader:
        """`length` bytes of the object from `start` on. Raises ObjectMissing."""

    async def delete(keys: Sequence[str]) -> None:
        """Delete these objects, committed or not; one that is not there is no error."""
