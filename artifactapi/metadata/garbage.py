"""What nothing needs any more, and how its rows go: a batch at a time, each in a transaction of its own.

A batch is locked first and looked at in a second statement, which sees what was committed until then: whoever wants to
use one of its rows (a manifest that names a blob, a mount, a push of the same digest) waits for the lock or was waited
for, and is not missed either way. Rows that are in use are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from artifactapi.metadata.database import Queryable


@dataclass(frozen=True, slots=True)
class Batch:
    """How many rows were looked at, how many of them went, and the bytes of blobs among these."""

    seen: int
    gone: int
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is due, and since when its oldest, in seconds."""

    count: int
    seconds: float


# However slow an upstream is: while a replica is heard of that fetches a blob, its session is in use.
UNUSED = "NOT EXISTS (SELECT FROM fills f WHERE f.session_id = s.id AND f.lease_until > now())"


async def sessions(db: Queryable, grace: float, count: int) -> Batch:
    """Upload sessions that nobody touched for `grace` seconds; what they staged goes to the outbox."""
    rows = await db.query(
        f"""
        WITH idle AS (
            SELECT id FROM upload_sessions s WHERE updated_at < now() - make_interval(secs => %s) AND {UNUSED}
            ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED
        ), ended AS (
            DELETE FROM upload_sessions s USING idle WHERE s.id = idle.id RETURNING object_key, store_state
        ), doomed AS (
            INSERT INTO doomed_objects (key, store_state)
            SELECT object_key, store_state FROM ended WHERE store_state IS NOT NULL
        )
        SELECT 1 FROM ended
        """,
        (grace, count),
    )
    return Batch(len(rows), len(rows))


async def links(db: Queryable, grace: float, count: int) -> Batch:
    """Blobs of images that no manifest of their image has used for `grace` seconds. In a transaction."""
    rows = await db.query(
        """SELECT image_id, blob_id FROM image_blobs WHERE idle_since < now() - make_interval(secs => %s)
           ORDER BY idle_since LIMIT %s FOR UPDATE SKIP LOCKED""",
        (grace, count),
    )
    if not rows:
        return Batch(0, 0)
    [[_, gone]] = await db.query(
        """
        WITH batch AS (
            SELECT image_id, blob_id, EXISTS (
                SELECT FROM manifest_refs r JOIN blobs b ON b.digest = r.child WHERE r.image_id = q.image_id
                AND b.id = q.blob_id
            ) AS used FROM unnest(%s::bigint[], %s::bigint[]) AS q (image_id, blob_id)
        ), kept AS (
            UPDATE image_blobs l SET idle_since = NULL FROM batch q
            WHERE q.used AND l.image_id = q.image_id AND l.blob_id = q.blob_id RETURNING 1
        ), gone AS (
            DELETE FROM image_blobs l USING batch q
            WHERE NOT q.used AND l.image_id = q.image_id AND l.blob_id = q.blob_id RETURNING 1
        )
        SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM gone)
        """,
        tuple(map(list, zip(*rows, strict=True))),
    )
    return Batch(len(rows), gone)


async def blobs(db: Queryable, grace: float, count: int) -> Batch:
    """Blobs that no image has had for `grace` seconds; their objects go to the outbox. In a transaction."""
    rows = await db.query(
        """SELECT id FROM blobs WHERE idle_since < now() - make_interval(secs => %s)
           ORDER BY idle_since LIMIT %s FOR UPDATE SKIP LOCKED""",
        (grace, count),
    )
    if not rows:
        return Batch(0, 0)
    [[gone, size]] = await db.query(
        """
        WITH batch AS (
            SELECT id, EXISTS (SELECT FROM image_blobs l WHERE l.blob_id = q.id) AS used
            FROM unnest(%s::bigint[]) AS q (id)
        ), kept AS (
            UPDATE blobs b SET idle_since = NULL FROM batch q WHERE q.used AND b.id = q.id
        ), gone AS (
            DELETE FROM blobs b USING batch q WHERE NOT q.used AND b.id = q.id RETURNING object_key, size
        ), doomed AS (
            -- At once: who reads it has begun before the grace.
            -- What was staged beside it may be in the outbox already, with the object itself as what is kept.
            INSERT INTO doomed_objects (key, after)
            SELECT object_key, now() FROM gone WHERE object_key IS NOT NULL
            ON CONFLICT (key) DO UPDATE SET keep = NULL
        )
        SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone
        """,
        ([row[0] for row in rows],),
    )
    return Batch(len(rows), gone, size)


async def backlog(db: Queryable, upload_grace: float, link_grace: float, blob_grace: float) -> dict[str, Backlog]:
    """What is to be looked at, by kind: sessions, links, blobs, objects."""
    rows = await db.query(
        f"""
        SELECT 'sessions', count(*), coalesce(extract(epoch FROM now() - min(updated_at)), 0)::float
        FROM upload_sessions s WHERE updated_at < now() - make_interval(secs => %(uploads)s) AND {UNUSED}
        UNION ALL SELECT 'links', count(*), coalesce(extract(epoch FROM now() - min(idle_since)), 0)::float
        FROM image_blobs WHERE idle_since < now() - make_interval(secs => %(links)s)
        UNION ALL SELECT 'blobs', count(*), coalesce(extract(epoch FROM now() - min(idle_since)), 0)::float
        FROM blobs WHERE idle_since < now() - make_interval(secs => %(blobs)s)
        UNION ALL SELECT 'objects', count(*), coalesce(extract(epoch FROM now() - min(after)), 0)::float
        FROM doomed_objects WHERE after < now()
        """,
        {"uploads": upload_grace, "links": link_grace, "blobs": blob_grace},
    )
    return {kind: Backlog(count, seconds) for kind, count, seconds in rows}


@dataclass(frozen=True, slots=True)
class Due:
    """Something a run would take now: which kind, what it is called, and why."""

    kind: str
    name: str
    why: str


PREVIEW = f"""
    (SELECT 'session', r.name || '/' || s.image || ' ' || s.id, 'idle since ' || s.updated_at
     FROM upload_sessions s JOIN repos r ON r.id = s.repo_id
     WHERE s.updated_at < now() - make_interval(secs => %(uploads)s) AND {UNUSED} ORDER BY s.updated_at LIMIT %(count)s)
    UNION ALL
    (SELECT 'link', r.name || '/' || i.name || ' ' || b.digest, 'no manifest uses it since ' || l.idle_since
     FROM image_blobs l JOIN blobs b ON b.id = l.blob_id JOIN images i ON i.id = l.image_id
     JOIN repos r ON r.id = i.repo_id
     WHERE l.idle_since < now() - make_interval(secs => %(links)s) AND NOT EXISTS (
         SELECT FROM manifest_refs f WHERE f.image_id = l.image_id AND f.child = b.digest
     ) ORDER BY l.idle_since LIMIT %(count)s)
    UNION ALL
    (SELECT 'blob', b.digest, 'no image has it since ' || b.idle_since FROM blobs b
     WHERE b.idle_since < now() - make_interval(secs => %(blobs)s)
     AND NOT EXISTS (SELECT FROM image_blobs l WHERE l.blob_id = b.id) ORDER BY b.idle_since LIMIT %(count)s)
    UNION ALL
    (SELECT 'object', key, 'no row names it' FROM doomed_objects WHERE after < now() ORDER BY after LIMIT %(count)s)
"""


async def preview(db: Queryable, upload_grace: float, link_grace: float, blob_grace: float, count: int) -> list[Due]:
    """What a run would take now, up to `count` of each kind; nothing is changed."""
    graces = {"uploads": upload_grace, "links": link_grace, "blobs": blob_grace, "count": count}
    return [Due(*row) for row in await db.query(PREVIEW, graces)]
