"""A hasher of passwords that is watched."""

from __future__ import annotations

from typing import Any


class Counted:
    """The hasher, and how often it was asked for what, with which parameters."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.work: list[tuple[str, str]] = []

    def hash(self, password: str) -> str:
        """A new hash."""
        made = str(self._real.hash(password))
        self.work.append(("hash", parameters(made)))
        return made

    def verify(self, kept: str, password: str) -> bool:
        """Whether it is the password of that hash."""
        self.work.append(("verify", parameters(kept)))
        return bool(self._real.verify(kept, password))

    def check_needs_rehash(self, kept: str) -> bool:
        """Whether it was made otherwise."""
        return bool(self._real.check_needs_rehash(kept))

    @property
    def verified(self) -> int:
        """How often a password was compared."""
        return sum(kind == "verify" for kind, _ in self.work)


def parameters(kept: str) -> str:
    """The kind of a hash and what it cost: all but salt and hash."""
    return kept.rpartition("$")[0].rpartition("$")[0]
