"""Rows of manifests and of what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifactapi.metadata.database import Json, Queryable
from artifactapi.oci.digest import Digest
from artifactapi.oci.globs import allows
from artifactapi.oci.manifest import Manifest
from artifactapi.oci.names import ImageName, Tag


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it was pushed, or fetched from an upstream.

    `source`: local, or hit, miss or stale in a remote repo. `age`: seconds since the upstream confirmed the tag that it
    was asked for by; `fresh`: whether that is not too long ago.
    """

    digest: str
    media_type: str
    size: int
    content: bytes
    source: str = "local"
    age: float | None = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Referrer:
    """What the referrers list shows of a manifest."""

    digest: str
    media_type: str
    artifact_type: str | None
    size: int
    annotations: dict[str, str]


Key = tuple[ImageName, Digest | Tag]

AT_ONCE = 64 * 1024
"""Bytes of a manifest that may come with others; a larger one is fetched alone, since sixty of them would fill the
memory."""

TAG_TTL = 300
"""Seconds that a tag of a remote repo is believed, where its settings do not say."""

FIND = """
    SELECT q.at, m.digest, m.media_type, m.size, CASE WHEN m.size <= %s THEN m.content END, i.id,
           r.repo_type, extract(epoch FROM now() - t.checked_at)::float,
           coalesce((r.settings->>'tag_ttl')::float, %s), r.settings->'images', r.settings->'tags', t.name
    FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS q (repo, image, reference, at)
    JOIN repos r ON r.name = q.repo JOIN images i ON i.repo_id = r.id AND i.name = q.image
    LEFT JOIN tags t ON t.image_id = i.id AND t.name = q.reference
    JOIN manifests m ON m.image_id = i.id AND m.digest = coalesce(t.digest, q.reference)
"""


async def find_all(db: Queryable, keys: Sequence[Key]) -> dict[Key, Stored]:
    """The manifests that digests or tags stand for in their images; those that are not there are left out, and those
    that the patterns of a remote repo do not allow any more."""
    columns = zip(*((name.repo, name.image, str(reference)) for name, reference in keys), strict=True)
    found = {}
    rows = await db.query(FIND, (AT_ONCE, TAG_TTL, *map(list, columns)))
    for at, digest, media_type, size, content, image, repo_type, age, ttl, images, tags, tag in rows:
        if not (allows(images, keys[at - 1][0].image) and (tag is None or allows(tags, tag))):
            continue
        if content is None:
            content = await _content(db, image, digest)
        if content is not None:  # else it was deleted since
            source = "local" if repo_type == "local" else "hit"
            fresh = age is None or age <= ttl
            found[keys[at - 1]] = Stored(digest, media_type, size, bytes(content), source, age, fresh)
    return found


async def find(db: Queryable, name: ImageName, reference: Digest | Tag) -> Stored | None:
    """The manifest a digest or a tag stands for in that image."""
    return (await find_all(db, [(name, reference)])).get((name, reference))


async def missing(db: Queryable, name: ImageName, digests: Sequence[Digest]) -> list[Digest]:
    """Those that the image does not have."""
    rows = await db.query(
        """SELECT m.digest FROM repos r JOIN images i ON i.repo_id = r.id JOIN manifests m ON m.image_id = i.id
           WHERE r.name = %s AND i.name = %s AND m.digest = ANY(%s)""",
        (name.repo, name.image, list(map(str, digests))),
    )
    there = {digest for (digest,) in rows}
    return [digest for digest in digests if str(digest) not in there]


async def _content(db: Queryable, image: int, digest: str) -> memoryview | None:
    row = await db.one("SELECT content FROM manifests WHERE image_id = %s AND digest = %s", (image, digest))
    return row[0] if row else None


async def image_id(db: Queryable, name: ImageName, repo_type: str = "local") -> int | None:
    """The image's id, made if need be; None if there is no such repo of that type. It stays until the end."""
    row = await db.one(
        """
        WITH known AS (
            SELECT i.id FROM images i JOIN repos r ON r.id = i.repo_id WHERE r.name = %(repo)s AND i.name = %(image)s
            AND r.repo_type = %(type)s FOR KEY SHARE OF i
        ), made AS (
            INSERT INTO images (repo_id, name) SELECT id, %(image)s FROM repos
            WHERE name = %(repo)s AND repo_type = %(type)s AND NOT EXISTS (SELECT FROM known) FOR KEY SHARE
            ON CONFLICT (repo_id, name) DO UPDATE SET name = excluded.name RETURNING id
        )
        SELECT id FROM known UNION ALL SELECT id FROM made
        """,
        {"repo": name.repo, "image": name.image, "type": repo_type},
    )
    return row[0] if row else None


async def lock_present(db: Queryable, image: int, digests: list[str]) -> set[str]:
    """Those of `digests` that are manifests of the image; they stay until the transaction ends."""
    rows = await db.query(
        "SELECT digest FROM manifests WHERE image_id = %s AND digest = ANY(%s) ORDER BY digest FOR KEY SHARE",
        (image, digests),
    )
    return {row[0] for row in rows}


async def put(db: Queryable, image: int, digest: Digest, manifest: Manifest, content: bytes) -> None:
    """Insert it with its references; one that is there keeps its bytes and takes the media type of this push."""
    # Layers that may be missing are kept alive as well, where they are here.
    named = (*manifest.references, *manifest.optional)
    await db.query(
        """
        WITH manifest AS (
            INSERT INTO manifests
                (image_id, digest, media_type, artifact_type, subject, annotations, size, content)
            VALUES (%(image)s, %(digest)s, %(media_type)s, %(artifact_type)s, %(subject)s, %(annotations)s, %(size)s,
                    %(content)s)
            ON CONFLICT (image_id, digest) DO UPDATE SET media_type = excluded.media_type, idle_since = now()
            RETURNING image_id, digest
        )
        INSERT INTO manifest_refs (image_id, digest, child, kind)
        SELECT m.image_id, m.digest, c.child, c.kind
        FROM manifest m, unnest(%(children)s::text[], %(kinds)s::text[]) AS c (child, kind)
        ON CONFLICT DO NOTHING
        """,
        {
            "image": image,
            "digest": str(digest),
            "media_type": manifest.media_type,
            "artifact_type": manifest.artifact_type,
            "subject": None if manifest.subject is None else str(manifest.subject),
            "annotations": Json(manifest.annotations),
            "size": len(content),
            "content": content,
            "children": [str(reference.digest) for reference in named],
            "kinds": [reference.kind for reference in named],
        },
    )


async def delete(db: Queryable, name: ImageName, digest: Digest) -> bool:
    """Delete it with its tags; False if it was not there."""
    return bool(
        await db.query(
            """DELETE FROM manifests m USING repos r, images i WHERE i.repo_id = r.id AND m.image_id = i.id
               AND r.name = %s AND i.name = %s AND m.digest = %s RETURNING m.digest""",
            (name.repo, name.image, str(digest)),
        )
    )


async def referrers(
    db: Queryable, name: ImageName, subject: Digest, artifact_type: str | None, last: str, count: int
) -> list[Referrer]:
    """Up to `count` manifests after digest `last` whose subject it is, by digest."""
    rows = await db.query(
        """SELECT m.digest, m.media_type, m.artifact_type, m.size, m.annotations
           FROM repos r JOIN images i ON i.repo_id = r.id JOIN manifests m ON m.image_id = i.id
           WHERE r.name = %s AND i.name = %s AND m.subject = %s AND m.digest > %s
           AND (%s::text IS NULL OR m.artifact_type = %s) ORDER BY m.digest LIMIT %s""",
        (name.repo, name.image, str(subject), last, artifact_type, artifact_type, count),
    )
    return [Referrer(*row) for row in rows]
