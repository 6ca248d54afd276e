"""Rows of tags, and the lists of tags and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifactapi.metadata import members
from artifactapi.metadata.database import Queryable
from artifactapi.metadata.visible import Visible, condition
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName, Tag


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of names: `names` is a JSON array as Postgres wrote it (10,000 of them cost the reactor nothing);
    `last` its last name; `more` whether others follow; `source`: as that of a manifest."""

    names: str
    last: str
    more: bool
    source: str = "local"


# Wants one more row than it shows, to know whether others follow.
PAGE = """
    SELECT coalesce(json_agg(name ORDER BY name) FILTER (WHERE at <= %(count)s), '[]')::text,
           coalesce(max(name) FILTER (WHERE at <= %(count)s), ''), count(*) > %(count)s
    FROM (SELECT name, row_number() OVER (ORDER BY name) AS at FROM ({}) n (name)
          WHERE name > %(last)s COLLATE "C" ORDER BY name LIMIT %(count)s + 1) page
"""
TAGS = """
    SELECT t.name FROM repos r JOIN images i ON i.repo_id = r.id JOIN tags t ON t.image_id = i.id
    WHERE r.name = %(repo)s AND i.name = %(image)s
"""
IMAGES = """
    SELECT r.name || '/' || i.name FROM repos r JOIN images i ON i.repo_id = r.id
    WHERE EXISTS (SELECT FROM manifests m WHERE m.image_id = i.id) AND {}
"""
# What may be seen is the members' matter, unless the virtual repo u has rights of its own; and an image that a local
# member has is that member's, whether it may be seen there or not.
UNITED = """
    SELECT u.name || '/' || i.name
    FROM unnest(%(unions)s::text[], %(own)s::boolean[], %(members)s::text[], %(allow)s::text[], %(deny)s::text[])
        AS u (name, own, member, allow, deny)
    JOIN repos r ON r.name = u.member AND r.repo_type <> 'virtual' JOIN images i ON i.repo_id = r.id
    WHERE i.name ~ u.allow AND (u.deny = '' OR i.name !~ u.deny)
        AND EXISTS (SELECT FROM manifests m WHERE m.image_id = i.id)
    GROUP BY u.name, i.name
    HAVING bool_or(r.repo_type = 'local' AND {seen}) OR bool_and(r.repo_type <> 'local') AND bool_or({seen})
"""
OF_ONE = "SELECT substr(name, length(%(within)s) + 1) FROM ({}) a (name) WHERE starts_with(name, %(within)s)"
OWNER = "CASE WHEN u.own THEN u.name ELSE r.name END"


async def put(
    db: Queryable, image: int, tags: list[str], digest: Digest, fixed: Sequence[str] = ()
) -> dict[str, str | None]:
    """Let each of `tags` (unique) stand for that manifest of the image; what each stood for before (None: new).

    Those of `fixed` that stand for another one stay as they are, and are left out.
    """
    # Two statements: one that locks the rows it has changed itself does not see them at all.
    before: dict[str, str] = dict(
        await db.query(
            "SELECT name, digest FROM tags WHERE image_id = %s AND name = ANY(%s) ORDER BY name FOR UPDATE",
            (image, tags),
        )
    )
    rows = await db.query(
        """INSERT INTO tags (image_id, name, digest)
           SELECT %(image)s, t, %(digest)s FROM unnest(%(tags)s::text[]) t ORDER BY t
           ON CONFLICT (image_id, name) DO UPDATE SET digest = excluded.digest, updated_at = now()
           WHERE tags.name <> ALL (%(fixed)s) OR tags.digest = excluded.digest RETURNING name""",
        {"image": image, "digest": str(digest), "tags": tags, "fixed": list(fixed)},
    )
    return {name: before.get(name) for (name,) in rows}


async def of(db: Queryable, name: ImageName, digest: Digest) -> list[str]:
    """The tags of a manifest, which gets no other until the transaction ends."""
    # Locked first, and looked at in a second statement, which sees the tag that the first one waited for.
    locked = await db.query(
        """SELECT m.image_id FROM manifests m JOIN images i ON i.id = m.image_id JOIN repos r ON r.id = i.repo_id
           WHERE r.name = %s AND i.name = %s AND m.digest = %s FOR UPDATE OF m""",
        (name.repo, name.image, str(digest)),
    )
    rows = await db.query(
        "SELECT name FROM tags WHERE image_id = ANY(%s) AND digest = %s ORDER BY name",
        ([image for (image,) in locked], str(digest)),
    )
    return [tag for (tag,) in rows]


async def delete(db: Queryable, name: ImageName, tag: Tag) -> bool:
    """Delete the tag alone; False if it was not there."""
    return bool(
        await db.query(
            """DELETE FROM tags t USING repos r, images i WHERE i.repo_id = r.id AND t.image_id = i.id
               AND r.name = %s AND i.name = %s AND t.name = %s RETURNING t.name""",
            (name.repo, name.image, str(tag)),
        )
    )


async def listing(db: Queryable, name: ImageName, last: str, count: int) -> Listing | None:
    """Up to `count` tags of the image after `last`; None if there is no such image."""
    params = {"repo": name.repo, "image": name.image, "last": last, "count": count}
    row = await db.one(
        f"SELECT p.* FROM ({PAGE.format(TAGS)}) p WHERE EXISTS (SELECT FROM repos r JOIN images i"
        " ON i.repo_id = r.id WHERE r.name = %(repo)s AND i.name = %(image)s)",
        params,
    )
    return Listing(*row) if row else None


async def catalog(db: Queryable, last: str, count: int, visible: Visible = (), repo: str | None = None) -> Listing:
    """Up to `count` images that have a manifest and may be seen, as `<repo>/<image>`, after `last`; those of one `repo`
    as `<image>`."""
    seen, params = condition(visible)
    images = IMAGES.format(seen)
    if unions := await members.unions(db):
        images += " UNION ALL " + UNITED.format(seen=condition(visible, OWNER)[0])
        params |= unions
    if repo is not None:
        images = OF_ONE.format(images)
        params["within"] = f"{repo}/"
    row = await db.one(PAGE.format(images), {"last": last, "count": count, **params})
    assert row is not None
    return Listing(*row)
