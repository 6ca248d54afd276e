"""Rows about the members of virtual repos."""

from __future__ import annotations

from collections.abc import Sequence

from artifactapi.metadata.database import Queryable
from artifactapi.oci.names import ImageName


async def owners(db: Queryable, names: Sequence[ImageName]) -> set[str]:
    """The local repos among these names that have a manifest of the image."""
    rows = await db.query(
        """SELECT r.name FROM unnest(%s::text[], %s::text[]) AS q (repo, image)
           JOIN repos r ON r.name = q.repo AND r.repo_type = 'local'
           JOIN images i ON i.repo_id = r.id AND i.name = q.image
           WHERE EXISTS (SELECT FROM manifests m WHERE m.image_id = i.id)""",
        ([name.repo for name in names], [name.image for name in names]),
    )
    return {repo for (repo,) in rows}
