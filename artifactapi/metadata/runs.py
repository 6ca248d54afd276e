"""Rows of the collector's runs. One run at a time in the fleet: the one that has not ended, and was heard of lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from artifactapi.metadata.database import Json, Queryable, Transaction

SILENCE = 60.0
"""Seconds after which a run that says nothing is taken for dead."""
KEPT = 500
"""Runs in the history."""
LOCK = 0x6172_6763  # "argc": two that begin at once meet here


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it counted, and what failed, by sweep."""

    id: int
    started_at: datetime
    ended_at: datetime | None
    counts: dict[str, int]
    failures: dict[str, str]


async def begin(transaction: Transaction) -> int | None:
    """A new run's id; None if another one is under way."""
    await transaction.query("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    row = await transaction.one(
        """INSERT INTO gc_runs (counts) SELECT '{}' WHERE NOT EXISTS (
               SELECT FROM gc_runs WHERE ended_at IS NULL AND seen_at > now() - make_interval(secs => %s)
           ) RETURNING id""",
        (SILENCE,),
    )
    await transaction.query("DELETE FROM gc_runs WHERE id < (SELECT max(id) FROM gc_runs) - %s", (KEPT,))
    return row[0] if row else None


async def report(db: Queryable, run: int, counts: dict[str, int], failures: dict[str, str], ended: bool) -> bool:
    """Say how far it is; False if it was taken for dead and another one has begun."""
    return bool(
        await db.query(
            """UPDATE gc_runs r SET seen_at = now(), ended_at = CASE WHEN %s THEN now() END, counts = %s, failures = %s
               WHERE id = %s AND NOT EXISTS (SELECT FROM gc_runs later WHERE later.id > r.id) RETURNING id""",
            (ended, Json(counts), Json(failures), run),
        )
    )


async def history(db: Queryable, count: int) -> list[Run]:
    """The latest runs, newest first."""
    rows: list[Any] = await db.query(
        "SELECT id, started_at, ended_at, counts, failures FROM gc_runs ORDER BY id DESC LIMIT %s", (count,)
    )
    return [Run(*row) for row in rows]
