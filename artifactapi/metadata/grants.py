"""Rows of grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from artifactapi.metadata.database import Queryable

SUBJECTS = ("user", "token", "identity", "group")


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant's row: `to` is like user:alice, `repo` is * for every repo."""

    id: int
    to: str
    repo: str
    images: str
    rights: list[str]
    created_by: str
    created_at: datetime


SELECT = """
    SELECT g.id, CASE WHEN g.user_id IS NOT NULL THEN 'user:' || u.name
           WHEN g.token_id IS NOT NULL THEN 'token:' || t.name
           WHEN g.identity_id IS NOT NULL THEN 'identity:' || i.name ELSE 'group:' || g.group_name END,
           coalesce(r.name, '*'), g.images, g.rights, g.created_by, g.created_at
    FROM grants g LEFT JOIN users u ON u.id = g.user_id LEFT JOIN tokens t ON t.id = g.token_id
    LEFT JOIN identities i ON i.id = g.identity_id LEFT JOIN repos r ON r.id = g.repo_id
"""
FIND = {
    "user": "SELECT id FROM users WHERE name = %s FOR KEY SHARE",
    "token": "SELECT id FROM tokens WHERE name = %s AND user_id IS NULL FOR KEY SHARE",
    "identity": "SELECT id FROM identities WHERE name = %s FOR KEY SHARE",
}


async def subject(db: Queryable, kind: str, name: str) -> int | None:
    """The id of the user, the machine's token or the identity of that name."""
    row = await db.one(FIND[kind], (name,))
    return row[0] if row else None


async def create(
    db: Queryable, kind: str, subject: int | str, repo: int | None, images: str, rights: Sequence[str], by: str
) -> int:
    """The id of a new grant; `subject`: an id, or the group's name; `repo`: an id, None for every repo."""
    column = "group_name" if kind == "group" else f"{kind}_id"
    [[made]] = await db.query(
        f"INSERT INTO grants ({column}, repo_id, images, rights, created_by) VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (subject, repo, images, list(rights), by),
    )
    return int(made)


async def read(db: Queryable, grant: int) -> Granted | None:
    """The grant of that id."""
    row = await db.one(f"{SELECT} WHERE g.id = %s", (grant,))
    return Granted(*row) if row else None


async def listing(db: Queryable, last: int, count: int, repo: str | None, to: str | None) -> list[Granted]:
    """Up to `count` grants after id `last`; only those on `repo`, and to `to`, if given."""
    rows = await db.query(
        f"""SELECT * FROM ({SELECT}) AS shown (id, subject, repo, images, rights, by, at)
            WHERE id > %(last)s AND (%(repo)s::text IS NULL OR repo = %(repo)s)
            AND (%(to)s::text IS NULL OR subject = %(to)s) ORDER BY id LIMIT %(count)s""",
        {"last": last, "count": count, "repo": repo, "to": to},
    )
    return [Granted(*row) for row in rows]


async def delete(db: Queryable, grant: int) -> None:
    """Take it back."""
    await db.query("DELETE FROM grants WHERE id = %s", (grant,))
