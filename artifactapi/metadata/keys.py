"""Rows of the key pairs that sign our own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from artifactapi.metadata.database import Queryable, Transaction

LOCK = 0x6172_6B79  # "arky": replicas that start together make one first key


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key pair; `age`: seconds since it was made."""

    id: str
    private_key: str
    created_at: datetime
    age: float


async def listing(db: Queryable) -> list[KeyRow]:
    """All key pairs, newest first."""
    rows = await db.query(
        "SELECT id, private_key, created_at, extract(epoch FROM now() - created_at)::float FROM signing_keys"
        " ORDER BY created_at DESC, id"
    )
    return [KeyRow(*row) for row in rows]


async def add(db: Queryable, key: str, private_key: str) -> None:
    """One more."""
    await db.query("INSERT INTO signing_keys (id, private_key) VALUES (%s, %s)", (key, private_key))


async def add_first(transaction: Transaction, key: str, private_key: str) -> None:
    """One, if there is none."""
    await transaction.query("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    if not await transaction.query("SELECT 1 FROM signing_keys LIMIT 1"):
        await add(transaction, key, private_key)


async def forget_others(db: Queryable, key: str) -> None:
    """Believe no other key any more."""
    await db.query("DELETE FROM signing_keys WHERE id <> %s", (key,))
