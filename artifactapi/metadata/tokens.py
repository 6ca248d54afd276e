"""Rows of tokens: of machines, of users, and of clients that logged in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from artifactapi.metadata.database import Json, Queryable
from artifactapi.metadata.principals import Subject

Scope = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Token:
    """A token's row, without the secret. `user`: whose it is, None for a machine's; `name`: None for a login."""

    id: int
    name: str | None
    user: str | None
    scope: Scope | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


SELECT = """
    SELECT t.id, t.name, u.name, t.scope, t.created_by, t.created_at, t.expires_at, t.last_used_at
    FROM tokens t LEFT JOIN users u ON u.id = t.user_id
"""


async def find(db: Queryable, secret_hash: bytes) -> Subject | None:
    """Whom the token with that secret stands for, unless it has expired. Its use is recorded, once a minute."""
    row = await db.one(
        """
        WITH RECURSIVE found AS (
            SELECT id, user_id, parent_id, last_used_at FROM tokens
            WHERE secret_hash = %(hash)s AND (expires_at IS NULL OR expires_at > now())
        ), made_from AS (
            SELECT id, parent_id FROM found
            UNION ALL SELECT t.id, t.parent_id FROM tokens t JOIN made_from m ON t.id = m.parent_id
        ), used AS (
            UPDATE tokens t SET last_used_at = now() FROM found f WHERE t.id = f.id
            AND (f.last_used_at IS NULL OR f.last_used_at < now() - interval '1 minute')
        )
        SELECT id, user_id, (SELECT id FROM made_from WHERE parent_id IS NULL) FROM found
        """,
        {"hash": secret_hash},
    )
    if row is None:
        return None
    token, user, first = row
    return Subject("user", user, token) if user is not None else Subject("token", first, token)


async def create(
    db: Queryable, name: str, user: int | None, secret_hash: bytes, scope: Scope | None, seconds: int | None, by: str
) -> int | None:
    """The id of a new token that expires after `seconds` (None: never); None if the name is taken."""
    row = await db.one(
        """INSERT INTO tokens (name, user_id, secret_hash, scope, expires_at, created_by)
           VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s), %s) ON CONFLICT (name) DO NOTHING RETURNING id""",
        (name, user, secret_hash, None if scope is None else Json(scope), seconds, by),
    )
    return row[0] if row else None


async def login(
    db: Queryable, subject: Subject, generation: int | None, secret_hash: bytes, seconds: int, by: str
) -> bool:
    """What a client that logged in may come back with, for `seconds`, never longer than the token it came with.

    False if the user is disabled or gone, or has another password than that of the `generation`, if it is given, or if
    the token is gone: a replica may hear of it only later, and this would outlive what it came from.
    """
    return bool(
        await db.query(
            """
            INSERT INTO tokens (user_id, parent_id, secret_hash, expires_at, created_by)
            SELECT %(user)s, %(parent)s, %(hash)s, now() + make_interval(secs => %(seconds)s), %(by)s
            WHERE (%(user)s IS NULL OR EXISTS (
                SELECT FROM users WHERE id = %(user)s AND NOT disabled
                AND generation = coalesce(%(generation)s, generation) FOR SHARE
            )) AND (%(parent)s IS NULL OR EXISTS (SELECT FROM tokens WHERE id = %(parent)s FOR KEY SHARE))
            RETURNING id
            """,
            {
                "user": subject.id if subject.kind == "user" else None,
                "parent": subject.token,
                "hash": secret_hash,
                "seconds": seconds,
                "by": by,
                "generation": generation,
            },
        )
    )


async def read(db: Queryable, token: int) -> Token | None:
    """The token of that id."""
    row = await db.one(f"{SELECT} WHERE t.id = %s", (token,))
    return Token(*row) if row else None


async def named(db: Queryable, name: str) -> Token | None:
    """The token of that name."""
    row = await db.one(f"{SELECT} WHERE t.name = %s", (name,))
    return Token(*row) if row else None


async def listing(db: Queryable, last: int, count: int, user: str | None) -> list[Token]:
    """Up to `count` tokens after id `last`; only those of `user`, if given."""
    rows = await db.query(
        f"{SELECT} WHERE t.id > %s AND (%s::text IS NULL OR u.name = %s) ORDER BY t.id LIMIT %s",
        (last, user, user, count),
    )
    return [Token(*row) for row in rows]


async def delete(db: Queryable, token: int) -> bool:
    """Revoke it, and all that was made with it; False if there is none."""
    return bool(await db.query("DELETE FROM tokens WHERE id = %s RETURNING id", (token,)))
