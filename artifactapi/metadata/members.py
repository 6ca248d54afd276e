"""The members of virtual repos, and rows about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifactapi.metadata.database import Queryable
from artifactapi.oci.digest import Digest
from artifactapi.oci.globs import matches, regex
from artifactapi.oci.names import ImageName

NOTHING = "^$"
"""The regular expression of no image: none has an empty name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A repo among those seen as one, for images that match `allow` and not `deny`."""

    repo: str
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: str | Mapping[str, Any]) -> Member:
        """From a name, or {"repo", "allow", "deny"}."""
        if isinstance(given, str):
            return cls(given)
        return cls(given["repo"], tuple(given.get("allow", ("*",))), tuple(given.get("deny", ())))

    def has(self, image: str) -> bool:
        """Whether it is asked for that image."""
        return any(matches(g, image) for g in self.allow) and not any(matches(g, image) for g in self.deny)


async def unions(db: Queryable) -> dict[str, list[Any]]:
    """All members of all virtual repos, as columns of SQL parameters; nothing, if there are none."""
    rows = await db.query("SELECT name, settings FROM repos WHERE repo_type = 'virtual' ORDER BY name")
    found = [(name, settings, Member.parse(each)) for name, settings in rows for each in settings.get("members", ())]
    if not found:
        return {}
    return {
        "unions": [name for name, _, _ in found],
        "own": [settings.get("rights") == "own" for _, settings, _ in found],
        "members": [member.repo for *_, member in found],
        "allow": ["|".join(map(regex, member.allow)) or NOTHING for *_, member in found],
        "deny": ["|".join(map(regex, member.deny)) for *_, member in found],
    }


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


async def holders(db: Queryable, names: Sequence[ImageName], digest: Digest) -> set[str]:
    """The repos among these names, local or not, whose image has a manifest or a blob of that digest here."""
    rows = await db.query(
        """SELECT r.name FROM unnest(%s::text[], %s::text[]) AS q (repo, image)
           JOIN repos r ON r.name = q.repo JOIN images i ON i.repo_id = r.id AND i.name = q.image
           WHERE EXISTS (SELECT FROM manifests m WHERE m.image_id = i.id AND m.digest = %s)
              OR EXISTS (SELECT FROM blobs b JOIN image_blobs l ON l.blob_id = b.id
                         WHERE b.digest = %s AND l.image_id = i.id)""",
        ([name.repo for name in names], [name.image for name in names], str(digest), str(digest)),
    )
    return {repo for (repo,) in rows}
