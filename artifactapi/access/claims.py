"""What the tokens of issuers claim, and the patterns that identities are known by."""

from __future__ import annotations

import json
import re
from typing import Any

from artifactapi.oci import globs

MOST = 20
CLAIMS_FORM = f'an object of 1 to {MOST} claims with patterns, like {{"sub": "repo:octo-org/octo-repo:*"}}'
COMMON = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
"""These tell no holder from another."""
PUBLIC = {
    "https://token.actions.githubusercontent.com": {
        "sub": "repo:",
        "repository": "",
        "repository_id": "",
        "repository_owner": "",
        "repository_owner_id": "",
        "workflow_ref": "",
        "enterprise": "",
        "enterprise_id": "",
    },
    "https://gitlab.com": {
        "sub": "project_path:",
        "project_path": "",
        "project_id": "",
        "namespace_path": "",
        "namespace_id": "",
    },
}
"""Issuers that everybody can have tokens from, with the claims that say whose a token is, and what these begin with."""
_TEXT = re.compile(r"[^*?/]+(/.*)?")


def is_claims(value: object) -> bool:
    """Whether it may be what an identity is known by."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= MOST
        and all(is_text(claim, 200) and is_text(pattern, 1000) for claim, pattern in value.items())
    )


def is_text(value: object, most: int) -> bool:
    """Whether it is a line of text."""
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def too_wide(issuer: str, patterns: dict[str, str]) -> str | None:
    """Why the patterns would let in whomever that issuer has tokens for; None if they do not."""
    if issuer not in PUBLIC:
        tells = any(claim not in COMMON and set(pattern) - set("*?") for claim, pattern in patterns.items())
        return None if tells else "claims would match every token of the issuer"
    owners = PUBLIC[issuer]
    if any(claim in owners and names_owner(pattern, owners[claim]) for claim, pattern in patterns.items()):
        return None
    return (
        f"everybody can have a token of {issuer}: claims must say whose, with the whole owner before any * or ?,"
        f" in one of: {', '.join(owners)}"
    )


def names_owner(pattern: str, prefix: str) -> bool:
    """Whether it says who after the prefix: all of it, or up to a slash (octo-org* is also octo-organization)."""
    return pattern.startswith(prefix) and _TEXT.fullmatch(pattern[len(prefix) :]) is not None


def mismatches(patterns: dict[str, str], said: dict[str, Any]) -> list[str]:
    """The claims that are not there, or not as the patterns want them."""
    return [claim for claim, pattern in patterns.items() if not matches(pattern, readings(said, claim))]


def readings(said: dict[str, Any], claim: str) -> list[Any]:
    """All that the name may stand for: a dot goes into an object, or is part of a key (kubernetes.io.namespace)."""
    found = [said[claim]] if claim in said else []
    for key, value in said.items():
        if isinstance(value, dict) and claim.startswith(f"{key}."):
            found += readings(value, claim[len(key) + 1 :])
    return found


def matches(pattern: str, found: list[Any]) -> bool:
    """Whether the one thing that was found, or an element of it if it is a list, is as the pattern says.

    What has two readings has none: else who may choose a key could choose another's claim.
    """
    if len(found) != 1:
        return False
    values = found[0] if isinstance(found[0], list) else found
    return any(globs.matches(pattern, text) for value in values if (text := text_of(value)) is not None)


def text_of(value: Any) -> str | None:
    """A string, a number or a boolean as the pattern sees it; None for anything else."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None
