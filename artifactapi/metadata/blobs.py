"""Rows of blobs and of their links to images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from artifactapi.metadata.database import Queryable
from artifactapi.metadata.visible import Visible, condition
from artifactapi.oci.digest import Digest
from artifactapi.oci.globs import allows
from artifactapi.oci.names import ImageName


@dataclass(frozen=True, slots=True)
class Blob:
    """Where a blob's bytes are: in `content`, or in the store under `key`; and its repo's setting `redirect`.

    `source`: local, or hit in a remote repo. `image`: where it is. `idle`: seconds since anything was known to need it
    in its image; None while something is. `fill`: gives the bytes of one that is on its way here.
    """

    digest: Digest
    size: int
    key: str | None
    content: bytes | None
    redirect: bool | None = None
    idle: float | None = field(default=None, compare=False)
    source: str = "local"
    image: ImageName | None = field(default=None, compare=False)
    fill: object = field(default=None, compare=False)


Key = tuple[ImageName, Digest]

FIND = """
    SELECT q.at, b.size, b.object_key, b.content, (r.settings->>'redirect')::boolean,
           extract(epoch FROM now() - l.idle_since)::float, r.repo_type, r.settings->'images'
    FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS q (repo, image, digest, at)
    JOIN repos r ON r.name = q.repo JOIN images i ON i.repo_id = r.id AND i.name = q.image
    JOIN blobs b ON b.digest = q.digest JOIN image_blobs l ON l.image_id = i.id AND l.blob_id = b.id
"""


async def find_all(db: Queryable, keys: Sequence[Key]) -> dict[Key, Blob]:
    """Those of the blobs that are linked to their images, if the patterns of a remote repo allow these still."""
    columns = zip(*((name.repo, name.image, str(digest)) for name, digest in keys), strict=True)
    rows = await db.query(FIND, tuple(map(list, columns)))
    return {
        keys[at - 1]: Blob(
            keys[at - 1][1],
            size,
            key,
            None if content is None else bytes(content),
            redirect,
            idle,
            "local" if repo_type == "local" else "hit",
            keys[at - 1][0],
        )
        for at, size, key, content, redirect, idle, repo_type, images in rows
        if allows(images, keys[at - 1][0].image)
    }


async def find(db: Queryable, name: ImageName, digest: Digest) -> Blob | None:
    """The blob, if it is linked to that image."""
    return (await find_all(db, [(name, digest)])).get((name, digest))


async def mount(
    db: Queryable,
    name: ImageName,
    digest: Digest,
    source: ImageName | None,
    visible: Visible = (),
    repo_type: str = "local",
) -> bool:
    """Link the blob of `source` (None: of any image that may be seen) to `name`; False if it is not there, or no repo
    of that type.

    Both rows are touched: a sweep that has picked one of them must see that it was promised.
    """
    seen, params = condition(visible)
    return bool(
        await db.query(
            f"""
            WITH repo AS (
                SELECT id FROM repos WHERE name = %(repo)s AND repo_type = %(repo_type)s FOR KEY SHARE
            ), blob AS (
                UPDATE blobs b SET idle_since = now() WHERE digest = %(digest)s AND EXISTS (SELECT FROM repo)
                AND EXISTS (
                    SELECT FROM image_blobs l JOIN images i ON i.id = l.image_id JOIN repos r ON r.id = i.repo_id
                    WHERE l.blob_id = b.id AND (%(from_repo)s IS NULL OR r.name = %(from_repo)s AND i.name = %(from)s)
                    AND {seen}
                ) RETURNING id
            ), image AS (
                INSERT INTO images (repo_id, name) SELECT repo.id, %(image)s FROM repo, blob
                ON CONFLICT (repo_id, name) DO UPDATE SET name = excluded.name RETURNING id
            ), link AS (
                INSERT INTO image_blobs (image_id, blob_id) SELECT image.id, blob.id FROM image, blob
                ON CONFLICT (image_id, blob_id) DO UPDATE SET idle_since = now()
            )
            SELECT id FROM blob
            """,
            {
                "repo": name.repo,
                "image": name.image,
                "digest": str(digest),
                "from_repo": source.repo if source else None,
                "from": source.image if source else None,
                "repo_type": repo_type,
                **params,
            },
        )
    )


async def size_in(db: Queryable, repo: str, digest: Digest) -> int | None:
    """How many bytes it has, if any image of the repo has it."""
    row = await db.one(
        """SELECT b.size FROM blobs b JOIN image_blobs l ON l.blob_id = b.id JOIN images i ON i.id = l.image_id
           JOIN repos r ON r.id = i.repo_id WHERE b.digest = %s AND r.name = %s LIMIT 1""",
        (str(digest), repo),
    )
    return row[0] if row else None


async def missing(db: Queryable, name: ImageName, digests: Sequence[Digest]) -> list[Digest]:
    """Those that are not linked to the image."""
    there = await find_all(db, [(name, digest) for digest in digests]) if digests else {}
    return [digest for digest in digests if (name, digest) not in there]


async def renew(db: Queryable, name: ImageName, digest: Digest) -> bool:
    """Let it stay in its image for another grace; False if it is not there any more."""
    return bool(
        await db.query(
            """UPDATE image_blobs l SET idle_since = now() FROM repos r, images i, blobs b
               WHERE i.repo_id = r.id AND l.image_id = i.id AND b.id = l.blob_id
               AND r.name = %s AND i.name = %s AND b.digest = %s RETURNING b.id""",
            (name.repo, name.image, str(digest)),
        )
    )


async def unlink(db: Queryable, name: ImageName, digest: Digest) -> bool:
    """Take the blob from that image; False if it was not there."""
    return bool(
        await db.query(
            """DELETE FROM image_blobs l USING repos r, images i, blobs b
               WHERE i.repo_id = r.id AND l.image_id = i.id AND b.id = l.blob_id
               AND r.name = %s AND i.name = %s AND b.digest = %s RETURNING b.id""",
            (name.repo, name.image, str(digest)),
        )
    )


async def lock_linked(db: Queryable, image_id: int, digests: list[str]) -> set[str]:
    """Those of `digests` that are linked to the image; the links stay until the transaction ends."""
    rows = await db.query(
        "SELECT b.digest FROM blobs b JOIN image_blobs l ON l.blob_id = b.id"
        " WHERE l.image_id = %s AND b.digest = ANY(%s) ORDER BY b.id FOR KEY SHARE OF l",
        (image_id, digests),
    )
    return {row[0] for row in rows}
