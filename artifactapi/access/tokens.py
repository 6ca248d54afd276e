"""Tokens of machines and of users: list, create, revoke."""

from __future__ import annotations

from typing import Any

from artifactapi.access.administered import NAME_FORM, Changes, Exists, Unknown, is_name
from artifactapi.access.rights import Right
from artifactapi.access.secrets import hash_of, new_secret
from artifactapi.metadata import tokens as rows
from artifactapi.metadata import users as user_rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.tokens import Token
from artifactapi.oci.fields import Fields, is_list, is_whole
from artifactapi.oci.globs import is_image_glob
from artifactapi.oci.names import is_repo_name

MOST_SECONDS = 10 * 366 * 86_400
MOST_ENTRIES = 100
SCOPE_FORM = f'a list of 1 to {MOST_ENTRIES} entries like {{"repo": "r", "images": "team/*", "rights": ["pull"]}}'


class Tokens:
    """What machines show, and what users let others act with in their name."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def listing(self, last: int, count: int, user: str | None) -> list[Token]:
        """Up to `count` tokens after id `last`, and logins among them; only those of `user`, if given."""
        return await rows.listing(self._database, last, count, user)

    async def read(self, token: int) -> Token:
        """A token. Raises Unknown."""
        found = await rows.read(self._database, token)
        if found is None:
            raise unknown(token)
        return found

    async def named(self, name: str) -> Token:
        """The token of that name. Raises Unknown."""
        found = await rows.named(self._database, name)
        if found is None:
            raise Unknown(f"no token {name[:100]!r}", {"name": name[:255]})
        return found

    async def create(self, given: object, by: By) -> tuple[Token, str]:
        """A new token, and its secret, which is shown this once.

        From the fields name, user (whose it is; absent: a machine's), expires_in (seconds; absent: never) and scope.
        Raises FieldsInvalid, Exists, NoAdministrator.
        """
        fields = Fields(given, ("name", "user", "expires_in", "scope"))
        name = fields.need("name", is_name, NAME_FORM)
        user = fields.read("user", is_name, NAME_FORM)
        seconds = fields.read(
            "expires_in",
            lambda value: is_whole(value, 1, MOST_SECONDS),
            f"a whole number of seconds, at most {MOST_SECONDS}",
        )
        scope = fields.read("scope", is_scope, SCOPE_FORM)
        fields.check()
        secret = new_secret()

        async def work(transaction: Transaction) -> tuple[int, Event]:
            owner = await user_rows.find(transaction, user) if user is not None else None
            if user is not None and owner is None:
                fields.refuse("user", f"no user {user!r}")
                fields.check()
            owned = owner.id if owner else None
            token = await rows.create(transaction, name, owned, hash_of(secret), scope, seconds, by.actor)
            if token is None:
                raise Exists(f"there is a token {name!r} already", {"field": "name"})
            detail = {"token": name, "user": user, "scope": scope, "expires_in": seconds}
            return token, Event("token.create", detail={k: v for k, v in detail.items() if v is not None})

        token = await self._changes.make(by, work)
        return await self.read(token), secret

    async def delete(self, token: int, by: By) -> None:
        """Revoke it, and what clients that logged in with it came back with. Raises Unknown, NoAdministrator."""

        async def work(transaction: Transaction) -> tuple[None, Event]:
            found = await rows.read(transaction, token)
            if found is None or not await rows.delete(transaction, token):
                raise unknown(token)
            shown = {"token": found.name or f"login {token}", "user": found.user}
            return None, Event("token.delete", detail={k: v for k, v in shown.items() if v is not None})

        await self._changes.make(by, work)


def is_scope(value: object) -> bool:
    """Whether it may be what a token is limited to."""
    return is_list(value, is_entry, MOST_ENTRIES, 1)


def is_entry(entry: Any) -> bool:
    """Whether it has a repo (or *), a pattern of images, and rights."""
    return (
        isinstance(entry, dict)
        and set(entry) == {"repo", "images", "rights"}
        and is_repo(entry["repo"])
        and is_image_glob(entry["images"])
        and are_rights(entry["rights"])
    )


def is_repo(value: object) -> bool:
    """Whether it may be a repo's name, or * for all."""
    return value == "*" or is_repo_name(value)


def are_rights(value: object) -> bool:
    """Whether it is a list of rights."""
    return is_list(value, lambda right: right in list(Right), len(Right), 1)


def unknown(token: int) -> Unknown:
    """The error for a token that does not exist."""
    return Unknown("no such token", {"id": token})
