"""The calls that the use cases make of the store and of the database, one after the other, and a death between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from zope.interface import implementer

from artifactapi.metadata.database import Database
from artifactapi.objects.interface import Checkpoint, Committed, IObjectReader, IObjectStore, IObjectWriter, State

STATEMENTS = {
    "INSERT INTO upload_sessions": "start",
    "fence = fence + 1": "claim",
    'SET "offset"': "advance",
    "INSERT INTO blobs": "finish",
    "INSERT INTO doomed_objects": "cancel",
    "FROM upload_sessions": "find",
    "DELETE FROM doomed_objects": "done",
    "FROM doomed_objects": "due",
}


class Died(BaseException):
    """kill -9: no `except` of the program's own catches it."""


class Steps:
    """What was called so far. At the step `fate` is asked for, it may raise, or take its time."""

    def __init__(self, fate: Callable[[str], Awaitable[None] | None] = lambda step: None) -> None:
        self.taken: list[str] = []
        self._counts: Counter[str] = Counter()
        self._fate = fate
        self._dead = False

    async def take(self, name: str, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Make the call, with a step before it and one after it."""
        self._counts[name] += 1
        number = f" {self._counts[name]}" if self._counts[name] > 1 else ""
        await self._reach(f"before {name}{number}")
        result = await call(*args)
        await self._reach(f"after {name}{number}")
        return result

    async def _reach(self, step: str) -> None:
        if self._dead:
            raise Died
        self.taken.append(step)
        try:
            waiting = self._fate(step)
            if waiting is not None:
                await waiting
        except Died:
            self._dead = True
            raise


def die_at(step: str) -> Steps:
    """Steps of a process that is killed at that one, and does nothing after it."""

    def fate(reached: str) -> None:
        if reached == step:
            raise Died

    return Steps(fate)


@contextmanager
def named(step: str) -> Iterator[None]:
    """Say in a failure at which step it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(step)
        raise


@implementer(IObjectStore)
class SteppedStore:
    """A store whose calls are steps."""

    def __init__(self, store: IObjectStore, steps: Steps) -> None:
        self._store = store
        self._steps = steps

    async def check(self) -> None:
        """A step."""
        await self._steps.take("check", self._store.check)

    def is_sealed(self, state: State) -> bool:
        """No step: it asks nobody."""
        return self._store.is_sealed(state)

    async def writer(self, key: str, state: State, fence: int, checkpoint: Checkpoint) -> IObjectWriter:
        """A step, and so are its writes."""
        writer = await self._steps.take("writer", self._store.writer, key, state, fence, checkpoint)
        return SteppedWriter(writer, self._steps)

    async def commit(self, key: str, state: State, fence: int) -> Committed:
        """A step."""
        return await self._steps.take("commit", self._store.commit, key, state, fence)

    async def size(self, key: str) -> int | None:
        """No step."""
        return await self._store.size(key)

    async def keys(self, after: str) -> list[str]:
        """No step."""
        return await self._store.keys(after)

    async def url(self, key: str, seconds: int) -> str | None:
        """No step: it asks nobody."""
        return await self._store.url(key, seconds)

    async def open(self, key: str, start: int, length: int) -> IObjectReader:
        """A step."""
        return await self._steps.take("open", self._store.open, key, start, length)

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """A step."""
        return await self._steps.take("delete", self._store.delete, keys)

    async def abort(self, key: str, keep: str | None) -> None:
        """A step."""
        await self._steps.take("abort", self._store.abort, key, keep)


@implementer(IObjectWriter)
class SteppedWriter:
    """A writer whose calls are steps."""

    def __init__(self, writer: IObjectWriter, steps: Steps) -> None:
        self._writer = writer
        self._steps = steps

    @property
    def room(self) -> int | None:
        """The writer's."""
        return self._writer.room

    async def write(self, pieces: Sequence[bytes]) -> None:
        """A step."""
        await self._steps.take("write", self._writer.write, pieces)

    async def settle(self, last: bool) -> State:
        """A step."""
        return await self._steps.take("settle", self._writer.settle, last)

    async def close(self) -> None:
        """No step: a process that dies closes its files."""
        await self._writer.close()


class SteppedDatabase:
    """A pool whose statements are steps, by the names of the functions that make them."""

    def __init__(self, database: Database, steps: Steps) -> None:
        self._database = database
        self._steps = steps

    async def query(self, sql: str, params: Any = ()) -> list[Any]:
        """A step."""
        name = next((name for part, name in STATEMENTS.items() if part in sql), "query")
        return await self._steps.take(name, self._database.query, sql, params)

    async def one(self, sql: str, params: Any = ()) -> Any:
        """A step."""
        rows = await self.query(sql, params)
        return rows[0] if rows else None

    async def transaction(self, work: Callable[..., Awaitable[Any]]) -> Any:
        """A step."""
        return await self._steps.take("transaction", self._database.transaction, work)
