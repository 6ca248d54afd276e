"""A store whose operations are timed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

from zope.interface import implementer

from artifactapi.objects.interface import Checkpoint, Committed, IObjectReader, IObjectStore, IObjectWriter, State

T = TypeVar("T")
Observe = Callable[[str, str, float], None]


@implementer(IObjectStore)
class Observed:
    """Passes each call on, and tells `observe` its name, its outcome (ok, or the error's class) and its seconds."""

    def __init__(self, store: IObjectStore, observe: Observe) -> None:
        self._store = store
        self._observe = observe

    async def check(self) -> None:
        """Timed."""
        await self._timed("check", self._store.check())

    def is_sealed(self, state: State) -> bool:
        """Passed on."""
        return bool(self._store.is_sealed(state))

    async def writer(self, key: str, state: State, fence: int, checkpoint: Checkpoint) -> IObjectWriter:
        """Timed, and so is what the writer does."""
        writer = await self._timed("begin", self._store.writer(key, state, fence, checkpoint))
        return ObservedWriter(writer, self._timed)

    async def commit(self, key: str, state: State, fence: int) -> Committed:
        """Timed."""
        return await self._timed("commit", self._store.commit(key, state, fence))

    async def open(self, key: str, start: int, length: int) -> IObjectReader:
        """Timed."""
        return await self._timed("open", self._store.open(key, start, length))

    async def size(self, key: str) -> int | None:
        """Timed."""
        return await self._timed("size", self._store.size(key))

    async def keys(self, after: str) -> list[str]:
        """Timed."""
        return await self._timed("keys", self._store.keys(after))

    async def url(self, key: str, seconds: int) -> str | None:
        """Timed."""
        return await self._timed("url", self._store.url(key, seconds))

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """Timed."""
        return await self._timed("delete", self._store.delete(keys))

    async def abort(self, key: str, keep: str | None) -> None:
        """Timed."""
        await self._timed("abort", self._store.abort(key, keep))

    async def _timed(self, operation: str, work: Awaitable[T]) -> T:
        began, outcome = monotonic(), "ok"
        try:
            return await work
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self._observe(operation, outcome, monotonic() - began)


@implementer(IObjectWriter)
class ObservedWriter:
    """A writer whose writes are timed."""

    def __init__(self, writer: IObjectWriter, timed: Callable[[str, Awaitable[T]], Awaitable[T]]) -> None:
        self._writer = writer
        self._timed = timed

    @property
    def room(self) -> int | None:
        """Passed on."""
        room: int | None = self._writer.room
        return room

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Timed."""
        await self._timed("write", self._writer.write(pieces))  # type: ignore[arg-type]

    async def settle(self, last: bool) -> State:
        """Timed."""
        return await self._timed("settle", self._writer.settle(last))  # type: ignore[arg-type,return-value]

    async def close(self) -> None:
        """Passed on."""
        await self._writer.close()
