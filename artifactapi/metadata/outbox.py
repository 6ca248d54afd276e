"""Rows of the outbox: objects whose rows are gone, and whose bytes go next."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from artifactapi.metadata.database import Queryable


@dataclass(frozen=True, slots=True)
class Doomed:
    """A key to delete: a committed object, or (`staged`) all that there is of an upload, except the object `keep`."""

    key: str
    staged: bool
    keep: str | None


async def due(db: Queryable, count: int) -> list[Doomed]:
    """Up to `count` keys to delete, oldest first."""
    rows = await db.query(
        "SELECT key, store_state IS NOT NULL, keep FROM doomed_objects WHERE after <= now() ORDER BY after LIMIT %s",
        (count,),
    )
    return [Doomed(*row) for row in rows]


async def done(db: Queryable, doomed: Collection[Doomed]) -> None:
    """The objects are gone: forget the keys, except one whose `keep` is not kept any more since."""
    await db.query(
        """DELETE FROM doomed_objects d USING unnest(%s::text[], %s::text[]) AS q (key, keep)
           WHERE d.key = q.key AND d.keep IS NOT DISTINCT FROM q.keep""",
        ([one.key for one in doomed], [one.keep for one in doomed]),
    )


async def postpone(db: Queryable, doomed: Collection[Doomed]) -> None:
    """They could not be deleted: try again in ten minutes."""
    await db.query(
        "UPDATE doomed_objects SET after = now() + interval '10 minutes' WHERE key = ANY(%s)",
        ([one.key for one in doomed],),
    )
