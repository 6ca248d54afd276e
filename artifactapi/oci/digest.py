"""Content addresses: sha256:<64 hex digits> and sha512:<128 hex digits>."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from artifactapi.oci.errors import DigestInvalid, clip

ALGORITHMS = ("sha256", "sha512")
"""The digest algorithms of the image-spec that are taken here."""

_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest that is known to be well-formed; `hex` is lower case."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest `text` stands for. Raises DigestInvalid."""
        if _DIGEST.fullmatch(text) is None:
            raise DigestInvalid(_reason(text), {"digest": clip(text, 200)})
        return cls(text[:6], text[7:])


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of `data`. Raises ValueError for an algorithm that is not one of ALGORITHMS."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no digest algorithm: {algorithm[:100]!r}")
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


def _reason(text: str) -> str:
    algorithm, colon, _ = text.partition(":")
    if not colon:
        return "a digest is <algorithm>:<hex digits>"
    if algorithm not in ALGORITHMS:
        return f"digest algorithm {clip(algorithm)!r} is not one of: {', '.join(ALGORITHMS)}"
    return f"a {algorithm} digest has {64 if algorithm == 'sha256' else 128} lower-case hex digits"
