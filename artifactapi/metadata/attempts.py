"""Failed logins, as the levels of leaking buckets: all replicas count in the same ones."""

from __future__ import annotations

from artifactapi.metadata.database import Queryable


async def add(db: Queryable, key: str, most: float, leak: float) -> None:
    """One more. A bucket holds at most `most`, and loses `leak` of them each second."""
    await db.query(
        """
        INSERT INTO login_attempts AS b (key, level) VALUES (%(key)s, 1)
        ON CONFLICT (key) DO UPDATE SET at = now(), level = least(%(most)s,
            greatest(0, b.level - %(leak)s * extract(epoch FROM now() - b.at)) + 1)
        """,
        {"key": key, "most": most, "leak": leak},
    )


async def wait(db: Queryable, key: str, most: float, leak: float) -> float | None:
    """Seconds until there is room for one more; None if there is."""
    row = await db.one(
        "SELECT level - %s * extract(epoch FROM now() - at)::float + 1 - %s FROM login_attempts WHERE key = %s",
        (leak, most, key),
    )
    return row[0] / leak if row and row[0] > 0 else None
