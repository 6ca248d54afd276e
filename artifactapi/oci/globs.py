"""Patterns of tags and images: * is any characters, ? is one. Matched in time linear in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

_TAGS = re.compile(r"[A-Za-z0-9_.*?-]{1,128}")
_IMAGES = re.compile(r"[a-z0-9_.*?/-]{1,255}")


def is_tag_glob(value: object) -> bool:
    """Whether it may be a pattern of tags."""
    return isinstance(value, str) and _TAGS.fullmatch(value) is not None


def is_image_glob(value: object) -> bool:
    """Whether it may be a pattern of images."""
    return isinstance(value, str) and _IMAGES.fullmatch(value) is not None


def regex(glob: str) -> str:
    """The pattern as a regular expression of Postgres, whose matcher is linear."""
    return "^" + re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") + "$"


def matches(glob: str, text: str) -> bool:
    """Whether the whole text is as the pattern says."""
    return glob == "*" or _compiled(glob).fullmatch(text) is not None


def allows(patterns: Mapping[str, Sequence[str]] | None, text: str) -> bool:
    """Whether the text is as one of "allow" says (all are, if it is not there), and as none of "deny"."""
    if patterns is None:
        return True
    allow, deny = patterns.get("allow", ("*",)), patterns.get("deny", ())
    return any(matches(glob, text) for glob in allow) and not any(matches(glob, text) for glob in deny)


@lru_cache(4096)
def _compiled(glob: str) -> re.Pattern[str]:
    first, *rest = [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", glob)]
    if not rest:
        return re.compile(first)
    # The first place where a part fits will do, so that no other is tried: Python's own .* would try them all.
    return re.compile(first + "".join(f"(?>.*?{part})" for part in rest[:-1] if part) + f".*{rest[-1]}")
