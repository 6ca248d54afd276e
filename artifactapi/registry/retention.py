"""What a repo keeps: the setting `retention`.

{"untagged_days": 30, "tags": [{"pattern": "pr-*", "keep": 10}], "protect": ["v*", "latest"]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artifactapi.oci.fields import is_list, is_whole
from artifactapi.oci.globs import is_tag_glob

MOST = 50  # rules, and patterns
DAYS = 36_500
KEEP = 1_000_000
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class TagRule:
    """Of the tags that match, each image keeps the newest `keep`."""

    pattern: str
    keep: int


@dataclass(frozen=True, slots=True)
class Retention:
    """`untagged`: seconds that a manifest nothing refers to is kept (None: for ever). Tags that match one of `protect`
    are kept, whatever the rules say, and do not count."""

    untagged: float | None = None
    tags: tuple[TagRule, ...] = ()
    protect: tuple[str, ...] = ()

    @classmethod
    def parse(cls, setting: dict[str, Any]) -> Retention:
        """From a setting that `mistake` found nothing wrong with."""
        days = setting.get("untagged_days")
        return cls(
            None if days is None else days * DAY,
            tuple(TagRule(rule["pattern"], rule["keep"]) for rule in setting.get("tags", ())),
            tuple(setting.get("protect", ())),
        )


def mistake(setting: object) -> str | None:
    """What is wrong with a setting; None if nothing is."""
    if not isinstance(setting, dict):
        return "retention must be a JSON object"
    unknown = [str(key)[:100] for key in setting if key not in ("untagged_days", "tags", "protect")]
    if unknown:
        return f"retention has no {unknown[0]!r}"
    if "untagged_days" in setting and not is_whole(setting["untagged_days"], 0, DAYS):
        return f"retention.untagged_days must be a whole number from 0 to {DAYS}"
    return _tags_mistake(setting.get("tags", [])) or _protect_mistake(setting.get("protect", []))


def _tags_mistake(tags: object) -> str | None:
    if not isinstance(tags, list) or len(tags) > MOST:
        return f"retention.tags must be a list of at most {MOST} rules"
    for rule in tags:
        if not isinstance(rule, dict) or set(rule) != {"pattern", "keep"} or not is_tag_glob(rule["pattern"]):
            return 'retention.tags must have rules like {"pattern": "pr-*", "keep": 10}'
        if not is_whole(rule["keep"], 0, KEEP):
            return f"retention.tags: keep must be a whole number from 0 to {KEEP}"
    return None


def _protect_mistake(protect: object) -> str | None:
    if not is_list(protect, is_tag_glob, MOST):
        return f'retention.protect must be a list of at most {MOST} patterns like "v*"'
    return None
