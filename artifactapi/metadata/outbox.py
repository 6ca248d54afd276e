"""Rows of the outbox: objects whose rows are gone, and whose bytes go next."""

from __future__ import annotations

from artifactapi.metadata.database import Queryable


async def due(db: Queryable, count: int) -> list[str]:
    """Up to `count` keys to delete, oldest first."""
    rows = await db.query("SELECT key FROM doomed_objects WHERE after <= now() ORDER BY after LIMIT %s", (count,))
    return [row[0] for row in rows]


async def done(db: Queryable, keys: list[str]) -> None:
    """The objects are gone: forget the keys."""
    await db.query("DELETE FROM doomed_objects WHERE key = ANY(%s)", (keys,))
