"""Rows by key, asked for together."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from artifactapi.metadata.lookups import AT_ONCE, MOST, Lookups
from artifactapi.oci.errors import Unavailable

DOUBLE = "SELECT n, n * 2 FROM unnest(%s::int[]) n WHERE n < 1000"


class Counted:
    """Statements that say what they were asked, each over the real database."""

    def __init__(self, sql: str = DOUBLE) -> None:
        self.sql = sql
        self.asked: list[list[int]] = []

    async def __call__(self, db, keys) -> dict[int, int]:
        """Each number and its double."""
        self.asked.append(list(keys))
        return dict(await db.query(self.sql, (list(keys),)))


def ask(lookups: Lookups[int, int], *keys: int) -> list[Deferred[int | None]]:
    """Ask for keys at the same time."""
    return [Deferred.fromCoroutine(lookups.get(key)) for key in keys]


async def test_one(database):
    """A key is asked for at once; one that is not there is None."""
    find = Counted()
    lookups = Lookups(database, find)
    assert await lookups.get(4) == 8
    assert await lookups.get(1000) is None
    assert find.asked == [[4], [1000]]


async def test_many(database):
    """What is asked for while statements run is asked for together, each key once, so many at a time."""
    find = Counted()
    keys = [*range(AT_ONCE + MOST + 1), *range(10, 20)]
    answers = ask(Lookups(database, find), *keys)
    assert [await answer for answer in answers] == [key * 2 for key in keys]
    assert [len(asked) for asked in find.asked] == [1] * AT_ONCE + [MOST, 1]


async def test_nothing_is_remembered(database):
    """An answer is that of a statement which began after the question: a row that came meanwhile is seen."""
    await database.query("CREATE TABLE t (n int)")
    lookups = Lookups(database, Counted("SELECT n, n FROM t WHERE n = ANY(%s)"))
    assert await lookups.get(1) is None
    early = ask(lookups, 1)
    await database.query("INSERT INTO t VALUES (1)")
    assert await lookups.get(1) == 1
    assert await early[0] in (None, 1)


async def test_errors(database):
    """All who asked together get the error; the next are served."""
    find = Counted("SELECT n, 1 / (n - 5) FROM unnest(%s::int[]) n")
    lookups = Lookups(database, find)
    answers = ask(lookups, 1, 2, 5, 6)
    assert [await answer for answer in answers[:2]] == [0, 0]
    for answer in answers[2:]:
        with pytest.raises(Exception, match="division by zero"):
            await answer
    assert await lookups.get(7) == 0


async def test_a_database_that_is_away(database):
    """Without a database every answer is Unavailable, and nobody waits for ever."""
    lookups = Lookups(database, Counted())
    await database.stop()
    for answer in ask(lookups, 1, 2, 3, 4):
        with pytest.raises(Unavailable):
            await answer


async def test_one_who_goes_away(database):
    """A question whose asker is cancelled takes nothing from the others who asked the same."""
    lookups = Lookups(database, Counted())
    answers = ask(lookups, 1, 2, 3, 3, 3)
    answers[2].cancel()
    answers[0].cancel()
    assert [await answer for answer in (answers[1], *answers[3:])] == [4, 6, 6]
    for answer in (answers[0], answers[2]):
        with pytest.raises(CancelledError):
            await answer
