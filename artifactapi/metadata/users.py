"""Rows of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from artifactapi.metadata.database import Queryable


@dataclass(frozen=True, slots=True)
class User:
    """A user's row, without the password's hash."""

    id: int
    name: str
    groups: list[str]
    disabled: bool
    created_at: datetime
    updated_at: datetime


COLUMNS = "id, name, groups, disabled, created_at, updated_at"


async def find(db: Queryable, name: str) -> User | None:
    """The user of that name."""
    row = await db.one(f"SELECT {COLUMNS} FROM users WHERE name = %s", (name,))
    return User(*row) if row else None


@dataclass(frozen=True, slots=True)
class Password:
    """What is kept of a user's password; `generation` counts those that the user has had."""

    user: int
    hash: str
    generation: int


async def password_of(db: Queryable, name: str) -> Password | None:
    """That of an enabled user who has one."""
    row = await db.one(
        "SELECT id, password_hash, generation FROM users"
        " WHERE name = %s AND NOT disabled AND password_hash IS NOT NULL",
        (name,),
    )
    return Password(*row) if row else None


async def listing(db: Queryable, last: str, count: int) -> list[User]:
    """Up to `count` users after `last`, by name."""
    rows = await db.query(f"SELECT {COLUMNS} FROM users WHERE name > %s ORDER BY name LIMIT %s", (last, count))
    return [User(*row) for row in rows]


async def create(db: Queryable, name: str, password_hash: str | None, groups: Sequence[str]) -> User | None:
    """The new user; None if the name is taken."""
    row = await db.one(
        "INSERT INTO users (name, password_hash, groups) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        f" RETURNING {COLUMNS}",
        (name, password_hash, list(groups)),
    )
    return User(*row) if row else None


async def change(
    db: Queryable, name: str, password_hash: str | None, groups: Sequence[str] | None, disabled: bool | None
) -> User | None:
    """Set what is not None; None if there is no such user. With a new password, or disabled, every login ends."""
    row = await db.one(
        f"""
        WITH changed AS (
            UPDATE users SET password_hash = coalesce(%(hash)s, password_hash), groups = coalesce(%(groups)s, groups),
                disabled = coalesce(%(disabled)s, disabled), updated_at = now(),
                generation = generation + CASE WHEN %(ends)s THEN 1 ELSE 0 END
            WHERE name = %(name)s RETURNING {COLUMNS}
        ), ended AS (
            DELETE FROM tokens t USING changed c WHERE %(ends)s AND t.user_id = c.id AND t.name IS NULL
        )
        SELECT {COLUMNS} FROM changed
        """,
        {
            "name": name,
            "hash": password_hash,
            "groups": None if groups is None else list(groups),
            "disabled": disabled,
            "ends": password_hash is not None or bool(disabled),
        },
    )
    return User(*row) if row else None


async def rehash(db: Queryable, user: int, old: str, new: str) -> None:
    """The same password, with the parameters of today."""
    await db.query("UPDATE users SET password_hash = %s WHERE id = %s AND password_hash = %s", (new, user, old))


async def delete(db: Queryable, name: str) -> bool:
    """Delete the user, with grants and tokens; False if there is none."""
    return bool(await db.query("DELETE FROM users WHERE name = %s RETURNING id", (name,)))


async def lock(db: Queryable) -> None:
    """Until the transaction ends, nobody else changes who administers."""
    await db.query("SELECT version FROM access_state FOR UPDATE")


async def administers(db: Queryable, name: str) -> bool:
    """Whether all was granted to the user, or to one of his groups."""
    return bool(
        await db.query(
            """SELECT g.id FROM users u JOIN grants g ON g.user_id = u.id OR g.group_name = ANY(u.groups)
               WHERE u.name = %s AND 'admin' = ANY(g.rights) AND g.repo_id IS NULL AND g.images = '*'""",
            (name,),
        )
    )


async def administrators(db: Queryable) -> int:
    """How many can administer all, and go on to: enabled users with a password, identities, and tokens without an
    end or a limit."""
    [[count]] = await db.query(
        """SELECT count(*) FROM grants g LEFT JOIN users u
               ON NOT u.disabled AND u.password_hash IS NOT NULL AND (u.id = g.user_id OR g.group_name = ANY(u.groups))
           LEFT JOIN tokens t ON t.id = g.token_id AND t.expires_at IS NULL AND t.scope IS NULL
           WHERE 'admin' = ANY(g.rights) AND g.repo_id IS NULL AND g.images = '*'
           AND (u.id IS NOT NULL OR t.id IS NOT NULL OR g.identity_id IS NOT NULL)"""
    )
    return int(count)
