"""The account postgres runs as: the daemon's own, or an unprivileged one when the daemon is root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactapi.embedded.errors import EmbeddedError

_UNPRIVILEGED = ("postgres", "nobody")  # the first that this machine has owns a new cluster made by root


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its primary group."""

    uid: int
    gid: int
    name: str

    def identity(self) -> dict[str, Any]:
        """The arguments that make subprocess run a child as this account and no other group."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def reaches(self, folder: Path) -> bool:
        """Whether the mode bits let this account enter a folder and all that are above it."""
        return all(self._enters(place.stat()) for place in (folder, *folder.parents))

    def _enters(self, place: os.stat_result) -> bool:
        if place.st_uid == self.uid:
            return bool(place.st_mode & 0o100)
        return bool(place.st_mode & (0o010 if place.st_gid == self.gid else 0o001))


def account_for(cluster: Path) -> Account:
    """The account for a cluster: its owner, or who will own it if there is none yet. EmbeddedError if none will do."""
    if not cluster.exists():
        return _unprivileged() if os.geteuid() == 0 else _account(os.geteuid(), os.getegid())
    owner = cluster.stat()
    if owner.st_uid == 0:
        raise EmbeddedError(
            f"{cluster} belongs to root, and postgres does not run as root: "
            f"give it to an unprivileged account (chown -R postgres: {cluster})"
        )
    if os.geteuid() not in (0, owner.st_uid):
        raise EmbeddedError(
            f"{cluster} belongs to {_account(owner.st_uid, owner.st_gid).name}, not to "
            f"{_account(os.geteuid(), os.getegid()).name}: run artifactapi as its owner, or give it to this account"
        )
    return _account(owner.st_uid, owner.st_gid)


def _account(uid: int, gid: int) -> Account:
    try:
        return Account(uid, gid, pwd.getpwuid(uid).pw_name)
    except KeyError:  # containers run as numbers that no passwd file knows
        return Account(uid, gid, f"user {uid}")


def _unprivileged() -> Account:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return Account(known[name].pw_uid, known[name].pw_gid, name)
    raise EmbeddedError(
        f"postgres does not run as root, and this machine has none of the accounts {', '.join(_UNPRIVILEGED)}: "
        "add one, or run artifactapi as an unprivileged account"
    )
