"""Rows of upload sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from artifactapi.metadata.database import Json, Queryable, Row
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session: `offset` durable bytes, which are in `content` while few, else in the store.

    `store_state` is not None as soon as there may be anything under `key`: the row says so before the first byte.
    """

    id: UUID
    name: ImageName
    algorithm: str
    key: str
    offset: int = 0
    content: bytes | None = b""
    hash_state: bytes | None = None
    store_state: dict[str, Any] | None = None
    fence: int = 0


COLUMNS = 'id, algorithm, object_key, "offset", content, hash_state, store_state, fence'
MINE = "id = %(id)s AND image = %(image)s AND repo_id = (SELECT id FROM repos WHERE name = %(repo)s)"


async def start(db: Queryable, session: Session, repo_type: str = "local") -> bool:
    """Insert it; False if there is no such repo of that type."""
    return bool(
        await db.query(
            "INSERT INTO upload_sessions (id, repo_id, image, algorithm, object_key, fence)"
            " SELECT %s, id, %s, %s, %s, %s FROM repos WHERE name = %s AND repo_type = %s FOR KEY SHARE RETURNING id",
            (
                str(session.id),
                session.name.image,
                session.algorithm,
                session.key,
                session.fence,
                session.name.repo,
                repo_type,
            ),
        )
    )


async def find(db: Queryable, name: ImageName, upload_id: UUID) -> Session | None:
    """The session of that id in that image."""
    row = await db.one(f"SELECT {COLUMNS} FROM upload_sessions WHERE {MINE}", _key(name, upload_id))
    return _session(name, row) if row else None


async def claim(db: Queryable, name: ImageName, upload_id: UUID, start: int | None) -> Session | None:
    """Become its one writer, from its durable offset on; whoever wrote until now loses it.

    None if there is no such session, or it is not at `start` (bytes).
    """
    row = await db.one(
        f"UPDATE upload_sessions SET fence = fence + 1, updated_at = now() WHERE {MINE}"
        f' AND "offset" = coalesce(%(start)s, "offset") RETURNING {COLUMNS}',
        {**_key(name, upload_id), "start": start},
    )
    return _session(name, row) if row else None


async def advance(db: Queryable, session: Session) -> bool:
    """Record the durable bytes; False if another writer took the session, or it ended.

    Never backwards: a statement whose answer was lost may be done after the one that was sent later.
    """
    return bool(
        await db.query(
            'UPDATE upload_sessions SET "offset" = %s, content = %s, hash_state = %s, store_state = %s,'
            ' updated_at = now() WHERE id = %s AND fence = %s AND "offset" <= %s RETURNING id',
            (
                session.offset,
                session.content,
                session.hash_state,
                None if session.store_state is None else Json(session.store_state),
                str(session.id),
                session.fence,
                session.offset,
            ),
        )
    )


async def finish(
    db: Queryable, session: Session, digest: Digest, key: str | None, leftovers: bool = False
) -> str | None:
    """In one statement: digest -> bytes, the link to the image, and the end of the session.

    `key` is that of the object, None where the bytes are in the session's row. `leftovers`: more than that object
    may be staged. Returns the object key that now stands for the digest ("" where the bytes are in the row), or None
    if the session is no longer the caller's. When the digest was there before, the caller's object goes to the outbox.
    """
    row = await db.one(
        """
        WITH ended AS (
            DELETE FROM upload_sessions WHERE id = %(id)s AND fence = %(fence)s
            RETURNING repo_id, image, object_key, store_state
        ), known AS (
            SELECT i.id FROM images i JOIN ended e ON i.repo_id = e.repo_id AND i.name = e.image
        ), made AS (
            INSERT INTO images (repo_id, name) SELECT repo_id, image FROM ended WHERE NOT EXISTS (SELECT FROM known)
            ON CONFLICT (repo_id, name) DO UPDATE SET name = excluded.name RETURNING id
        ), blob AS (
            INSERT INTO blobs (digest, size, object_key, content)
            SELECT %(digest)s, %(size)s, %(object_key)s::text, %(content)s::bytea FROM ended
            ON CONFLICT (digest) DO UPDATE SET idle_since = now() RETURNING id, coalesce(object_key, '') AS key
        ), link AS (
            INSERT INTO image_blobs (image_id, blob_id)
            SELECT i.id, b.id FROM (SELECT id FROM known UNION ALL SELECT id FROM made) i, blob b
            ON CONFLICT (image_id, blob_id) DO UPDATE SET idle_since = now()
        ), doomed AS (
            INSERT INTO doomed_objects (key, store_state, keep)
            SELECT CASE WHEN %(leftovers)s THEN e.object_key ELSE %(object_key)s END,
                   CASE WHEN %(leftovers)s THEN coalesce(e.store_state, '{}') END,
                   CASE WHEN %(leftovers)s AND b.key = %(object_key)s THEN b.key END
            FROM ended e, blob b
            WHERE %(leftovers)s OR %(object_key)s IS NOT NULL AND b.key <> %(object_key)s
        )
        SELECT key FROM blob
        """,
        {
            "id": str(session.id),
            "fence": session.fence,
            "digest": str(digest),
            "size": session.offset,
            "object_key": key,
            "leftovers": leftovers,
            "content": session.content,
        },
    )
    return row[0] if row else None


async def cancel(db: Queryable, name: ImageName, upload_id: UUID, fence: int | None = None) -> Session | None:
    """End it (if `fence` is given, only while it is that writer's); its object goes to the outbox.

    Returns what it was, None if there is no such session.
    """
    row = await db.one(
        f"""
        WITH ended AS (
            DELETE FROM upload_sessions WHERE {MINE} AND fence = coalesce(%(fence)s, fence) RETURNING {COLUMNS}
        ),
        doomed AS (INSERT INTO doomed_objects (key, store_state)
                   SELECT object_key, store_state FROM ended WHERE store_state IS NOT NULL)
        SELECT {COLUMNS} FROM ended
        """,
        {**_key(name, upload_id), "fence": fence},
    )
    return _session(name, row) if row else None


async def count(db: Queryable) -> int:
    """Open sessions, of all replicas."""
    row = await db.one("SELECT count(*) FROM upload_sessions")
    return int(row[0]) if row else 0


def _key(name: ImageName, upload_id: UUID) -> Any:
    return {"id": str(upload_id), "image": name.image, "repo": name.repo}


def _session(name: ImageName, row: Row) -> Session:
    upload_id, algorithm, key, offset, content, hash_state, store_state, fence = row
    return Session(
        UUID(upload_id), name, algorithm, key, offset, _bytes(content), _bytes(hash_state), store_state, fence
    )


def _bytes(value: memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)
