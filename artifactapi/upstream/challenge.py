"""WWW-Authenticate: what an upstream wants to see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST = 2048
"""Characters of a header that are read."""
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|({_WORD})')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One of the ways to authenticate; `scheme` is in lower case, `realm` and `service` are as they came."""

    scheme: str
    realm: str = ""
    service: str | None = None


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All that are in the headers, of which each may hold several. What cannot be understood is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for match in _PIECE.finditer(header[:MOST]):
            name, quoted, plain, scheme = match.groups()
            if scheme:
                found.append((scheme.lower(), {}))
            elif found:
                found[-1][1].setdefault(name.lower(), plain or _ESCAPED.sub(r"\1", quoted or ""))
    return [Challenge(scheme, given.get("realm", ""), given.get("service")) for scheme, given in found]
