"""Rows of repos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from artifactapi.metadata.database import Json, Queryable, Row


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo's row."""

    id: int
    name: str
    package_type: str
    repo_type: str
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What a repo holds. `bytes`: of its blobs, each counted once, and of its manifests."""

    images: int
    tags: int
    manifests: int
    blobs: int
    bytes: int


COLUMNS = "id, name, package_type, repo_type, settings, created_at, updated_at"

USAGE = """
    (SELECT count(*) FROM images i WHERE i.repo_id = r.id),
    (SELECT count(*) FROM images i JOIN tags t ON t.image_id = i.id WHERE i.repo_id = r.id),
    m.count, b.count, m.bytes + b.bytes
    FROM repos r,
    LATERAL (SELECT count(*), coalesce(sum(m.size), 0)::bigint AS bytes
             FROM images i JOIN manifests m ON m.image_id = i.id WHERE i.repo_id = r.id) m,
    LATERAL (SELECT count(*), coalesce(sum(size), 0)::bigint AS bytes FROM (
             SELECT DISTINCT b.id, b.size FROM images i JOIN image_blobs l ON l.image_id = i.id
             JOIN blobs b ON b.id = l.blob_id WHERE i.repo_id = r.id) x) b
"""


async def find(db: Queryable, name: str) -> Repo | None:
    """The repo of that name."""
    row = await db.one(f"SELECT {COLUMNS} FROM repos WHERE name = %s", (name,))
    return Repo(*row) if row else None


async def listing(db: Queryable, last: str, count: int, among: list[str] | None = None) -> list[tuple[Repo, Usage]]:
    """Up to `count` repos after `last`, by name, with what they hold; only those `among` these names, if given."""
    rows = await db.query(
        f"SELECT {COLUMNS}, {USAGE} WHERE r.name > %s AND (%s::text[] IS NULL OR r.name = ANY(%s::text[]))"
        " ORDER BY r.name LIMIT %s",
        (last, among, among, count),
    )
    return [_with_usage(row) for row in rows]


async def usage(db: Queryable, name: str) -> tuple[Repo, Usage] | None:
    """The repo of that name with what it holds."""
    row = await db.one(f"SELECT {COLUMNS}, {USAGE} WHERE r.name = %s", (name,))
    return _with_usage(row) if row else None


async def create(db: Queryable, name: str, package_type: str, repo_type: str, settings: dict[str, Any]) -> Repo | None:
    """The new repo; None if the name is taken."""
    row = await db.one(
        "INSERT INTO repos (name, package_type, repo_type, settings) VALUES (%s, %s, %s, %s)"
        f" ON CONFLICT DO NOTHING RETURNING {COLUMNS}",
        (name, package_type, repo_type, Json(settings)),
    )
    return Repo(*row) if row else None


async def change(db: Queryable, name: str, settings: dict[str, Any]) -> Repo | None:
    """Merge `settings` over the repo's own, a null removing one; None if there is no such repo."""
    row = await db.one(
        "UPDATE repos SET settings = jsonb_strip_nulls(settings || %s), updated_at = now() WHERE name = %s"
        f" RETURNING {COLUMNS}",
        (Json(settings), name),
    )
    return Repo(*row) if row else None


async def claimed(db: Queryable, repo: Repo, names: Sequence[str]) -> dict[str, str]:
    """Of these names of registries, those that other repos stand for, and one such repo."""
    rows = await db.query(
        """SELECT n.name, min(r.name) FROM unnest(%s::text[]) AS n (name) JOIN repos r
           ON r.settings->'mirror_of' ? n.name OR r.settings->'hosts' ? n.name WHERE r.id <> %s GROUP BY n.name""",
        (list(names), repo.id),
    )
    return dict(rows)


async def lock(db: Queryable, name: str) -> int | None:
    """The repo's id, its row locked until the transaction ends."""
    row = await db.one("SELECT id FROM repos WHERE name = %s FOR UPDATE", (name,))
    return row[0] if row else None


async def hold(db: Queryable, repo: Repo) -> bool:
    """Whether it is as it was; then it stays so until the transaction ends."""
    return bool(
        await db.query("SELECT id FROM repos WHERE id = %s AND updated_at = %s FOR SHARE", (repo.id, repo.updated_at))
    )


async def is_empty(db: Queryable, repo_id: int) -> bool:
    """Whether it holds no manifest, no blob and no upload."""
    row = await db.one(
        """SELECT NOT EXISTS (SELECT FROM images i WHERE i.repo_id = %(id)s AND (
                      EXISTS (SELECT FROM manifests m WHERE m.image_id = i.id)
                      OR EXISTS (SELECT FROM image_blobs l WHERE l.image_id = i.id)))
              AND NOT EXISTS (SELECT FROM upload_sessions s WHERE s.repo_id = %(id)s)""",
        {"id": repo_id},
    )
    return bool(row and row[0])


async def delete(db: Queryable, repo_id: int) -> None:
    """Delete it with all it holds; the objects of its uploads go to the outbox.

    Of an upload that is being finished, either the session is ended here or the blob is made there: never both.
    """
    await db.query(
        """WITH ended AS (DELETE FROM upload_sessions WHERE repo_id = %s RETURNING object_key, store_state)
           INSERT INTO doomed_objects (key, store_state)
           SELECT object_key, store_state FROM ended WHERE store_state IS NOT NULL""",
        (repo_id,),
    )
    await db.query("DELETE FROM repos WHERE id = %s", (repo_id,))


def _with_usage(row: Row) -> tuple[Repo, Usage]:
    return Repo(*row[:7]), Usage(*row[7:])
