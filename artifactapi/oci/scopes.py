"""Scopes of Docker's token flow: what a client wants to do, in its own words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TYPE = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?")
MOST = 100
"""Scopes of one request; a client asks for one, or two to mount."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`type:name:action,action`, as in repository:docker-internal/app:pull,push."""

    type: str
    name: str
    actions: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Scope | None:
        """The scope; None for what is none. A name may hold a colon, so both ends are cut off first."""
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        match = _TYPE.fullmatch(kind)
        if match is None or not name:
            return None
        return cls(match[1], name, frozenset(action for action in actions.split(",") if action))


def parse_scopes(texts: list[str]) -> list[Scope]:
    """Those of several parameters, each with scopes between spaces. What is no scope gives no right, and no error."""
    found = (Scope.parse(text) for given in texts for text in given.split(" ")[: MOST + 1])
    return [scope for scope in found if scope is not None][:MOST]
