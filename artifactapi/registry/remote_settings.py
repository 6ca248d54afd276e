"""The settings of a remote repo."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifactapi.metadata.manifests import TAG_TTL
from artifactapi.oci.fields import is_list, is_whole
from artifactapi.oci.globs import allows, is_image_glob, is_tag_glob
from artifactapi.oci.names import ImageName
from artifactapi.upstream.origin import Origin

DAY = 86_400
MOST_PATTERNS = 100
SECRET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PREFIX = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*/?")
HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
Check = Callable[[object], str | None]


def seconds(name: str, least: int, most: int) -> Check:
    """A setting in whole seconds."""
    return whole(name, least, most, "seconds")


def whole(name: str, least: int, most: int, unit: str) -> Check:
    """A setting that is a whole number."""

    def check(value: object) -> str | None:
        if is_whole(value, least, most):
            return None
        return f"{name} must be a whole number of {unit} from {least} to {most}"

    return check


def upstream(value: object) -> str | None:
    """Where to fetch from."""
    try:
        if isinstance(value, str) and Origin(value):
            return None
    except ValueError as error:
        return f"upstream must be a URL like https://registry.example.org: {error}"
    return "upstream must be a URL like https://registry.example.org"


def text(name: str, form: re.Pattern[str], like: str) -> Check:
    """A setting of that form."""
    return lambda value: (
        None if isinstance(value, str) and form.fullmatch(value) else f"{name} must be text like {like!r}"
    )


def username(value: object) -> str | None:
    """Whom to log in as."""
    if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() and ":" not in value:
        return None
    return "username must be text without a colon"


def realms(value: object) -> str | None:
    """Hosts that may be told the credentials."""
    if is_list(value, lambda host: isinstance(host, str) and HOST.fullmatch(host) is not None, 20):
        return None
    return "realms must be a list of host names"


def patterns(name: str, is_glob: Callable[[object], bool]) -> Check:
    """{"allow": [...], "deny": [...]}."""

    def check(value: object) -> str | None:
        if isinstance(value, dict) and set(value) <= {"allow", "deny"}:
            lists = list(value.values())
            if all(is_list(globs, is_glob, MOST_PATTERNS) for globs in lists):
                return None
        return f'{name} must be like {{"allow": ["team/*"], "deny": ["team/x"]}}'

    return check


MISTAKES: dict[str, Check] = {
    "upstream": upstream,
    "prefix": text("prefix", PREFIX, "library/"),
    "username": username,
    "password_secret": text("password_secret", SECRET, "hub-password"),
    "realms": realms,
    "tag_ttl": seconds("tag_ttl", 0, 365 * DAY),
    "negative_ttl": seconds("negative_ttl", 0, DAY),
    "max_stale": seconds("max_stale", 0, 3650 * DAY),
    "backoff": seconds("backoff", 1, 3600),
    "connect_timeout": seconds("connect_timeout", 1, 300),
    "timeout": seconds("timeout", 1, 600),
    "images": patterns("images", is_image_glob),
    "tags": patterns("tags", is_tag_glob),
    "cache_bytes": whole("cache_bytes", 0, 10**15, "bytes"),
    "cache_days": whole("cache_days", 1, 36_500, "days"),
}
"""The settings that a remote repo has beside those of all repos."""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """What they say; times in seconds. `password_secret` names a file, whose content is never shown."""

    upstream: str
    prefix: str = ""
    username: str | None = None
    password_secret: str | None = None
    realms: tuple[str, ...] = ()
    tag_ttl: int = TAG_TTL
    negative_ttl: int = 60
    max_stale: int = 7 * DAY
    backoff: int = 30
    connect_timeout: int = 10
    timeout: int = 30
    images: Mapping[str, Sequence[str]] | None = None
    tags: Mapping[str, Sequence[str]] | None = None

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> RemoteSettings:
        """From settings that were checked."""
        given = {key: value for key, value in settings.items() if key in cls.__slots__}
        return cls(**{**given, "realms": tuple(given.get("realms", ()))})

    def takes(self, name: ImageName, tag: str | None) -> bool:
        """Whether the upstream is asked for that image, and tag, at all."""
        return allows(self.images, name.image) and (tag is None or allows(self.tags, tag))

    def origin(self, password: str | None) -> Origin:
        """The upstream."""
        return Origin(
            self.upstream,
            self.username,
            password,
            self.prefix,
            frozenset(self.realms),
            self.connect_timeout,
            self.timeout,
            self.timeout,
        )
