"""Rights, and grants of them on the images of a repo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from artifactapi.oci.globs import matches
from artifactapi.oci.names import ImageName


class Right(StrEnum):
    """What one may do to an image; ADMIN: to the repo itself as well, and on all repos to everything here."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    ADMIN = "admin"


ALL = frozenset(Right)
INCLUDED = {
    Right.PULL: frozenset({Right.PULL}),
    Right.PUSH: frozenset({Right.PULL, Right.PUSH}),
    Right.DELETE: frozenset({Right.PULL, Right.DELETE}),
    Right.ADMIN: ALL,
}
"""Who may push must be able to see what is there already; `delete` is in ADMIN alone."""


def closed(rights: Iterable[str]) -> frozenset[Right]:
    """These rights and those they include."""
    return frozenset().union(*(INCLUDED[Right(right)] for right in rights))


@dataclass(frozen=True, slots=True)
class Grant:
    """`rights` on the images of `repo` (None: of every repo) that match the pattern `images`."""

    repo: str | None
    images: str
    rights: frozenset[Right]

    def gives(self, right: Right, name: ImageName) -> bool:
        """Whether it is enough for that."""
        return right in self.rights and self.repo in (None, name.repo) and matches(self.images, name.image)

    def gives_repo(self, right: Right, repo: str | None) -> bool:
        """Whether it is enough for a repo as a whole (None: for all of them)."""
        return right in self.rights and self.images == "*" and self.repo in (None, repo)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Grant:
        """From {"repo", "images", "rights"}, with * for every repo. Equal ones are one object: many hold them."""
        return _shared(entry["repo"], entry["images"], tuple(entry["rights"]))

    def to_json(self) -> dict[str, Any]:
        """As {"repo", "images", "rights"}, with * for every repo."""
        return {"repo": self.repo or "*", "images": self.images, "rights": sorted(self.rights)}


@lru_cache(10_000)
def _shared(repo: str, images: str, rights: tuple[str, ...]) -> Grant:
    return Grant(None if repo == "*" else repo, images, closed(rights))


EVERYTHING = Grant(None, "*", ALL)
Layer = tuple[Grant, ...]
"""Grants one of which is enough."""
