"""The settings of a repo, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable

from artifactapi.oci.fields import is_list
from artifactapi.oci.globs import is_tag_glob
from artifactapi.registry import retention

MOST = 50
HOST = re.compile(r"[a-z0-9.-]{1,253}(:[0-9]{1,5})?")


def switch(name: str) -> Callable[[object], str | None]:
    """A setting that is true or false."""
    return lambda value: None if isinstance(value, bool) else f"{name} must be true or false"


def description(value: object) -> str | None:
    """A text for people."""
    if isinstance(value, str) and len(value) <= 1000 and printable(value):
        return None
    return "description must be text of at most 1000 characters"


def printable(text: str) -> bool:
    """Whether Postgres can keep it: neither NUL nor half a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def immutable_tags(value: object) -> str | None:
    """Patterns of tags that stay what they are."""
    if is_list(value, is_tag_glob, MOST):
        return None
    return f'immutable_tags must be a list of at most {MOST} patterns like "v*"'


def registries(name: str) -> Callable[[object], str | None]:
    """Names of registries that the repo stands for."""

    def check(value: object) -> str | None:
        if is_list(value, lambda host: isinstance(host, str) and HOST.fullmatch(host) is not None, MOST):
            return None
        return f"{name} must be a list of at most {MOST} host names"

    return check


MISTAKES: dict[str, Callable[[object], str | None]] = {
    "allow_delete": switch("allow_delete"),
    "anonymous_pull": switch("anonymous_pull"),
    "hosts": registries("hosts"),
    "mirror_of": registries("mirror_of"),
    "immutable_tags": immutable_tags,
    "redirect": switch("redirect"),
    "description": description,
    "retention": retention.mistake,
}
"""The settings, and for each a function that says what is wrong with a value."""
