"""Rows as a check of the whole reads them: page by page, and which keys any of them names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifactapi.metadata.database import Queryable


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes a row stands for: in `content`, or in the store under `key`. `place` is where the next page begins."""

    place: str
    name: str
    digest: str
    size: int
    key: str | None
    content: bytes | None


async def blobs(db: Queryable, after: str, count: int) -> list[Content]:
    """A page of blobs, by digest."""
    rows = await db.query(
        "SELECT digest, size, object_key, content FROM blobs WHERE digest > %s ORDER BY digest LIMIT %s",
        (after, count),
    )
    return [
        Content(digest, f"blob {digest}", digest, size, key, None if content is None else bytes(content))
        for digest, size, key, content in rows
    ]


async def manifests(db: Queryable, after: str, count: int) -> list[Content]:
    """A page of manifests, by image and digest."""
    image, _, digest = after.partition(" ")
    rows = await db.query(
        """SELECT m.image_id || ' ' || m.digest, 'manifest ' || r.name || '/' || i.name || '@' || m.digest, m.digest,
                  m.size, m.content
           FROM manifests m JOIN images i ON i.id = m.image_id JOIN repos r ON r.id = i.repo_id
           WHERE (m.image_id, m.digest) > (%s, %s) ORDER BY m.image_id, m.digest LIMIT %s""",
        (int(image or 0), digest, count),
    )
    return [Content(place, name, digest, size, None, bytes(content)) for place, name, digest, size, content in rows]


async def totals(db: Queryable) -> tuple[int, int]:
    """How many blobs and manifests there are, about."""
    row = await db.one("SELECT (SELECT count(*) FROM blobs), (SELECT count(*) FROM manifests)")
    assert row is not None
    return row[0], row[1]


async def images_with(db: Queryable, digest: str, count: int) -> list[str]:
    """Up to `count` images that have the blob."""
    rows = await db.query(
        """SELECT r.name || '/' || i.name FROM blobs b JOIN image_blobs l ON l.blob_id = b.id
           JOIN images i ON i.id = l.image_id JOIN repos r ON r.id = i.repo_id
           WHERE b.digest = %s ORDER BY 1 LIMIT %s""",
        (digest, count),
    )
    return [row[0] for row in rows]


async def is_blob(db: Queryable, key: str) -> bool:
    """Whether a blob's bytes should be under the key."""
    return bool(await db.query("SELECT 1 FROM blobs WHERE object_key = %s", (key,)))


async def unnamed(db: Queryable, keys: Sequence[str]) -> list[str]:
    """Those of the keys that no row names: neither a blob, nor an upload or the outbox (whose keys stand for all that
    begins with them)."""
    rows = await db.query(
        """SELECT k.key FROM unnest(%s::text[], %s::text[]) AS k (key, base)
           WHERE NOT EXISTS (SELECT FROM blobs b WHERE b.object_key = k.key)
           AND NOT EXISTS (SELECT FROM upload_sessions s WHERE s.object_key = k.base)
           AND NOT EXISTS (SELECT FROM doomed_objects d WHERE d.key IN (k.key, k.base))""",
        (list(keys), [key.partition(".")[0] for key in keys]),
    )
    return [row[0] for row in rows]


async def doom(db: Queryable, keys: Sequence[str]) -> None:
    """Put what is staged beside these keys into the outbox; a blob's object that shares their beginning is kept."""
    await db.query(
        """INSERT INTO doomed_objects (key, store_state, keep)
           SELECT base, '{}', (
               SELECT b.object_key FROM blobs b WHERE b.object_key COLLATE "C" >= base
               AND b.object_key COLLATE "C" < base || '/' LIMIT 1
           ) FROM (SELECT DISTINCT split_part(k, '.', 1) AS base FROM unnest(%s::text[]) k) bases
           ON CONFLICT (key) DO NOTHING""",
        (list(keys),),
    )
