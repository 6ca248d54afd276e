"""Whatever changes, somebody can still change it back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from artifactapi.access.policy import Policy
from artifactapi.metadata import audit, principals, users
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.oci.errors import OciError

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class NoAdministrator(OciError):
    """After this, nobody could administer."""

    code = "NO_ADMINISTRATOR"
    status = 409


class Exists(OciError):
    """The name is taken."""

    code = "NAME_EXISTS"
    status = 409


class Unknown(OciError):
    """There is no such user, token, grant, issuer or identity."""

    code = "NAME_UNKNOWN"
    status = 404


class Changes:
    """Changes of who may what: each in a transaction, audited, refused if nobody could administer any more."""

    def __init__(self, database: Database, policy: Policy) -> None:
        self._database = database
        self._policy = policy

    async def make(self, by: By, work: Callable[[Transaction], Awaitable[tuple[T, Event]]]) -> T:
        """The result of `work`, which says what it has done. Raises NoAdministrator, and what `work` raises."""

        async def audited(transaction: Transaction) -> T:
            await users.lock(transaction)
            before = await users.administrators(transaction)
            result, event = await work(transaction)
            accounts, _ = await principals.general(transaction)
            if (before or accounts) and not await users.administrators(transaction):
                raise NoAdministrator(
                    "nobody could administer after this: first let there be a user with a password and admin on every"
                    " repo (artifactapi user add NAME --admin)"
                )
            await audit.record(transaction, by, event)
            return result

        result = await self._database.transaction(audited)
        await self._policy.refresh()  # whoever changed it wants to see it now
        return result


def is_name(value: object) -> bool:
    """Whether it may be the name of a user, a group, a token, an issuer or an identity."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


NAME_FORM = "1 to 100 letters, digits and ._@+- and begin with a letter or digit"
