"""Rows of what a remote repo has cached: how fresh tags are, what is pulled, what is evicted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from artifactapi.metadata.database import Json, Queryable
from artifactapi.metadata.garbage import Batch
from artifactapi.metadata.repos import Repo
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName, Tag

Use = tuple[str, str, str]
"""Repo, image, digest of what was pulled."""


async def confirm(db: Queryable, repo: Repo, name: ImageName, tag: Tag, digest: str) -> bool:
    """The upstream says that the tag stands for this manifest; False if it stands for none or another one here, or the
    repo is not as it was."""
    return bool(
        await db.query(
            """UPDATE tags t SET checked_at = now() FROM repos r, images i
               WHERE i.repo_id = r.id AND t.image_id = i.id AND r.id = %s AND r.updated_at = %s AND i.name = %s
               AND t.name = %s AND t.digest = %s RETURNING t.name""",
            (repo.id, repo.updated_at, name.image, str(tag), digest),
        )
    )


async def checked(db: Queryable, image: int, tag: str) -> None:
    """The tag is as the upstream says now."""
    await db.query("UPDATE tags SET checked_at = now() WHERE image_id = %s AND name = %s", (image, tag))


async def doubt(db: Queryable, repo_id: int) -> None:
    """Another upstream has to say what all tags stand for, and what refers to a manifest."""
    images = "SELECT id FROM images WHERE repo_id = %s"
    await db.query(f"UPDATE tags SET checked_at = 'epoch' WHERE image_id IN ({images})", (repo_id,))
    await db.query(f"DELETE FROM remote_referrers WHERE image_id IN ({images})", (repo_id,))


@dataclass(frozen=True, slots=True)
class Referrers:
    """What an upstream has said refers to a manifest, and how many seconds ago."""

    descriptors: list[dict[str, Any]]
    age: float


async def referrers(db: Queryable, name: ImageName, subject: Digest) -> Referrers | None:
    """What is kept for that manifest."""
    row = await db.one(
        """SELECT f.descriptors, extract(epoch FROM now() - f.checked_at)::float FROM repos r
           JOIN images i ON i.repo_id = r.id JOIN remote_referrers f ON f.image_id = i.id
           WHERE r.name = %s AND i.name = %s AND f.subject = %s""",
        (name.repo, name.image, str(subject)),
    )
    return Referrers(*row) if row else None


async def keep_referrers(db: Queryable, image: int, subject: Digest, descriptors: list[dict[str, Any]]) -> None:
    """The upstream says so now."""
    await db.query(
        """INSERT INTO remote_referrers (image_id, subject, descriptors) VALUES (%s, %s, %s)
           ON CONFLICT (image_id, subject) DO UPDATE SET descriptors = excluded.descriptors, checked_at = now()""",
        (image, str(subject), Json(descriptors)),
    )


async def used(db: Queryable, uses: Collection[Use]) -> None:
    """Somebody pulled these; written at most once an hour for each."""
    columns = list(map(list, zip(*uses, strict=True)))
    for table, join in (
        ("manifests", "x.image_id = i.id AND x.digest = q.digest"),
        ("image_blobs", "x.image_id = i.id AND x.blob_id = (SELECT id FROM blobs b WHERE b.digest = q.digest)"),
    ):
        await db.query(
            f"""UPDATE {table} x SET pulled_at = now()
                FROM unnest(%s::text[], %s::text[], %s::text[]) AS q (repo, image, digest)
                JOIN repos r ON r.name = q.repo JOIN images i ON i.repo_id = r.id AND i.name = q.image
                WHERE {join} AND x.pulled_at < now() - interval '1 hour'""",
            columns,
        )


async def evict_old(db: Queryable, count: int) -> Batch:
    """Up to `count` manifests, and as many blobs and lists, of remote repos that nobody asked for in the repo's
    `cache_days`.

    A manifest that an index here still names stays as long as that.
    """
    [[gone]] = await db.query(
        """
        WITH old AS (
            SELECT id, make_interval(days => (settings->>'cache_days')::int) AS age FROM repos
            WHERE repo_type = 'remote' AND settings ? 'cache_days'
        ), manifests_gone AS (
            DELETE FROM manifests WHERE (image_id, digest) IN (
                SELECT m.image_id, m.digest FROM old o JOIN images i ON i.repo_id = o.id
                JOIN manifests m ON m.image_id = i.id WHERE m.pulled_at < now() - o.age
                AND NOT EXISTS (SELECT FROM manifest_refs f WHERE f.image_id = m.image_id AND f.child = m.digest)
                ORDER BY m.pulled_at LIMIT %(count)s
            ) RETURNING 1
        ), links_gone AS (
            DELETE FROM image_blobs WHERE (image_id, blob_id) IN (
                SELECT l.image_id, l.blob_id FROM old o JOIN images i ON i.repo_id = o.id
                JOIN image_blobs l ON l.image_id = i.id WHERE l.pulled_at < now() - o.age
                ORDER BY l.pulled_at LIMIT %(count)s
            ) RETURNING 1
        ), lists_gone AS (
            DELETE FROM remote_referrers WHERE (image_id, subject) IN (
                SELECT f.image_id, f.subject FROM old o JOIN images i ON i.repo_id = o.id
                JOIN remote_referrers f ON f.image_id = i.id WHERE f.checked_at < now() - o.age LIMIT %(count)s
            ) RETURNING 1
        )
        SELECT (SELECT count(*) FROM manifests_gone) + (SELECT count(*) FROM links_gone)
             + (SELECT count(*) FROM lists_gone)
        """,
        {"count": count},
    )
    return Batch(gone, gone)


async def evict_beyond(db: Queryable, count: int) -> Batch:
    """Up to `count` blobs of remote repos that hold more than their `cache_bytes`: those that were pulled longest ago.

    What goes can be fetched again: the manifests that name it stay.
    """
    rows = await db.query(
        """
        WITH budgets AS (
            SELECT id, (settings->>'cache_bytes')::bigint AS most FROM repos
            WHERE repo_type = 'remote' AND settings ? 'cache_bytes'
        ), held AS (
            SELECT l.image_id, l.blob_id, p.most, l.pulled_at,
                   sum(b.size) OVER (PARTITION BY p.id ORDER BY l.pulled_at DESC, l.image_id, l.blob_id) AS sum
            FROM budgets p JOIN images i ON i.repo_id = p.id JOIN image_blobs l ON l.image_id = i.id
            JOIN blobs b ON b.id = l.blob_id
        )
        DELETE FROM image_blobs WHERE (image_id, blob_id) IN (
            SELECT image_id, blob_id FROM held WHERE sum > most ORDER BY pulled_at LIMIT %s
        ) RETURNING 1
        """,
        (count,),
    )
    return Batch(len(rows), len(rows))
