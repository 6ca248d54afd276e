"""Passwords of users: argon2id, in threads of its own."""

from __future__ import annotations

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from artifactapi.threads import Threads

LEAST, MOST = 8, 512
AT_ONCE = 2
"""Threads: each hash takes 64 MiB while it is made."""
hasher = PasswordHasher()


class Passwords:
    """Hashes and verifies."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to keep, with its parameters and salt."""
        return await self._threads.run(hasher.hash, password)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether it is the password of that hash. Without a hash it takes as long, and it is not."""
        if self._nobodys is None:
            self._nobodys = await self.hash(secrets.token_hex())
        return await self._threads.run(verify, kept or self._nobodys, password) and kept is not None

    @staticmethod
    def is_old(kept: str) -> bool:
        """Whether it was made with other parameters than those of today."""
        return hasher.check_needs_rehash(kept)


def verify(kept: str, password: str) -> bool:
    """Compare. For a thread."""
    try:
        return hasher.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def mistake(password: object) -> str | None:
    """What is wrong with a new password; None if nothing is."""
    if not isinstance(password, str) or not LEAST <= len(password) <= MOST:
        return f"password must be text of {LEAST} to {MOST} characters"
    try:
        password.encode()
    except UnicodeEncodeError:
        return "password must be text"
    return None
