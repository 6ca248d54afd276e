"""Tags and manifests that a repo's retention does not keep, and how their rows go: as in `garbage`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifactapi.metadata.database import Queryable
from artifactapi.metadata.garbage import Batch, Due


async def repos(db: Queryable) -> list[tuple[int, str, dict[str, Any]]]:
    """(id, name, retention) of the repos that have one."""
    return [
        (repo, name, setting)
        for repo, name, setting in await db.query(
            "SELECT id, name, settings->'retention' FROM repos WHERE settings ? 'retention' ORDER BY name"
        )
    ]


# A tag that moved since it was looked at is not the one that was: its time tells.
OLD_TAGS = """
    SELECT image_id, image, name, updated_at FROM (
        SELECT t.image_id, i.name AS image, t.name, t.updated_at,
               row_number() OVER (PARTITION BY t.image_id ORDER BY t.updated_at DESC, t.name DESC) AS at
        FROM tags t JOIN images i ON i.id = t.image_id
        WHERE i.repo_id = %(repo)s AND t.name ~ %(pattern)s AND NOT t.name ~ ANY(%(protect)s::text[])
    ) ranked WHERE at > %(keep)s ORDER BY updated_at LIMIT %(count)s
"""


async def tags(db: Queryable, repo: int, pattern: str, keep: int, protect: Sequence[str], count: int) -> Batch:
    """Tags that match the regular expression, beyond the newest `keep` of their image."""
    rows = await db.query(
        f"""WITH old AS ({OLD_TAGS}) DELETE FROM tags t USING old
            WHERE t.image_id = old.image_id AND t.name = old.name AND t.updated_at = old.updated_at RETURNING 1""",
        {"repo": repo, "pattern": pattern, "keep": keep, "protect": list(protect), "count": count},
    )
    return Batch(len(rows), len(rows))


async def old_tags(
    db: Queryable, repo: int, name: str, pattern: str, keep: int, protect: Sequence[str], count: int
) -> list[Due]:
    """What `tags` would take."""
    rows = await db.query(
        OLD_TAGS, {"repo": repo, "pattern": pattern, "keep": keep, "protect": list(protect), "count": count}
    )
    why = f"more than {keep} tags match {pattern}, and it is older: "
    return [Due("tag", f"{name}/{image}:{tag}", f"{why}{updated}") for _, image, tag, updated in rows]


# Needed by a tag, by an index, or by a subject that is there.
USED = """(
    EXISTS (SELECT FROM tags t WHERE t.image_id = m.image_id AND t.digest = m.digest)
    OR EXISTS (SELECT FROM manifest_refs f WHERE f.image_id = m.image_id AND f.child = m.digest)
    OR EXISTS (SELECT FROM manifests s WHERE s.image_id = m.image_id AND s.digest = m.subject)
)"""


async def manifests(db: Queryable, repo: int, grace: float, count: int) -> Batch:
    """Manifests that nothing has referred to for `grace` seconds. In a transaction."""
    rows = await db.query(
        """SELECT m.image_id, m.digest FROM manifests m JOIN images i ON i.id = m.image_id
           WHERE i.repo_id = %s AND m.idle_since < now() - make_interval(secs => %s)
           ORDER BY m.idle_since LIMIT %s FOR UPDATE OF m SKIP LOCKED""",
        (repo, grace, count),
    )
    if not rows:
        return Batch(0, 0)
    columns = tuple(map(list, zip(*rows, strict=True)))
    chosen = "(m.image_id, m.digest) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))"
    await db.query(f"UPDATE manifests m SET idle_since = NULL WHERE {chosen} AND {USED}", columns)
    gone = await db.query(
        f"DELETE FROM manifests m WHERE {chosen} AND m.idle_since IS NOT NULL AND NOT {USED} RETURNING 1", columns
    )
    return Batch(len(rows), len(gone))


async def old_manifests(db: Queryable, repo: int, name: str, grace: float, count: int) -> list[Due]:
    """What `manifests` would take."""
    rows = await db.query(
        f"""SELECT i.name || '@' || m.digest, m.idle_since FROM manifests m JOIN images i ON i.id = m.image_id
            WHERE i.repo_id = %s AND m.idle_since < now() - make_interval(secs => %s) AND NOT {USED}
            ORDER BY m.idle_since LIMIT %s""",
        (repo, grace, count),
    )
    return [Due("manifest", f"{name}/{image}", f"nothing refers to it since {since}") for image, since in rows]
