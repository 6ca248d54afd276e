"""The settings of a virtual repo."""

from __future__ import annotations

from typing import Any

from artifactapi.oci.fields import is_list
from artifactapi.oci.globs import is_image_glob
from artifactapi.oci.names import is_repo_name
from artifactapi.registry.remote_settings import MOST_PATTERNS, Check

MOST_MEMBERS = 50
LIKE = 'members must be a list of repos like "team" or {"repo": "hub", "allow": ["library/*"], "deny": ["library/x"]}'


def members(value: object) -> str | None:
    """Which repos, in which order."""
    if not is_list(value, is_member, MOST_MEMBERS, 1):
        return LIKE
    names = [member if isinstance(member, str) else member["repo"] for member in value]
    return None if len(set(names)) == len(names) else "members must be different repos"


def is_member(value: Any) -> bool:
    """Whether it is a repo's name, or that with patterns."""
    if not isinstance(value, dict):
        return is_repo_name(value)
    lists = [value.get("allow", ["*"]), value.get("deny", [])]
    return (
        {"repo"} <= set(value) <= {"repo", "allow", "deny"}
        and is_repo_name(value["repo"])
        and all(is_list(patterns, is_image_glob, MOST_PATTERNS) for patterns in lists)
    )


def push_to(value: object) -> str | None:
    """The member that takes what is written."""
    return None if is_repo_name(value) else "push_to must be the name of a local repo"


def rights(value: object) -> str | None:
    """Whose rights count."""
    return None if value in ("members", "own") else "rights must be members or own"


MISTAKES: dict[str, Check] = {"members": members, "push_to": push_to, "rights": rights}
"""The settings that a virtual repo has beside those of all repos."""
