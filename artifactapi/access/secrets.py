"""The secrets of tokens: random, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "aat_"
"""What scanners for leaked secrets, and we, know a token by."""


def new_secret() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> bytes:
    """What is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
