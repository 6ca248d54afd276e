"""Users: list, create, read, change, delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from artifactapi.access import passwords
from artifactapi.access.administered import NAME_FORM, Changes, Exists, Unknown, is_name
from artifactapi.access.passwords import Passwords
from artifactapi.access.rights import Right
from artifactapi.metadata import grants as grant_rows
from artifactapi.metadata import users as rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.users import User
from artifactapi.oci.fields import Fields, is_list

MOST_GROUPS = 100
GROUPS_FORM = f"a list of at most {MOST_GROUPS} names"


class Users:
    """People, and what they log in with."""

    def __init__(self, database: Database, checker: Passwords, changes: Changes) -> None:
        self._database = database
        self._passwords = checker
        self._changes = changes

    async def listing(self, last: str, count: int) -> list[User]:
        """Up to `count` users after `last`, by name."""
        return await rows.listing(self._database, last, count)

    async def read(self, name: str) -> User:
        """A user. Raises Unknown."""
        user = await rows.find(self._database, name)
        if user is None:
            raise unknown(name)
        return user

    async def create(self, given: object, by: By) -> User:
        """A new user from the fields name, password, groups, and admin (of everything).

        Raises FieldsInvalid, Exists, NoAdministrator.
        """
        fields = Fields(given, ("name", "password", "groups", "admin"))
        name = fields.need("name", is_name, NAME_FORM)
        password = new_password(fields)
        groups = fields.read("groups", are_groups, GROUPS_FORM, [])
        admin = fields.read("admin", is_bool, "true or false", False)
        fields.check()
        kept = await self._passwords.hash(password) if password is not None else None

        async def work(transaction: Transaction) -> tuple[User, Event]:
            user = await rows.create(transaction, name, kept, groups)
            if user is None:
                raise Exists(f"there is a user {name!r} already", {"field": "name"})
            if admin:
                await grant_rows.create(transaction, "user", user.id, None, "*", [Right.ADMIN], by.actor)
            return user, Event("user.create", detail={"user": name, "groups": groups, "admin": admin})

        return await self._changes.make(by, work)

    async def change(self, name: str, given: object, by: By) -> User:
        """Another password, other groups, disabled or not. Raises FieldsInvalid, Unknown, NoAdministrator."""
        fields = Fields(given, ("password", "groups", "disabled"))
        password = new_password(fields)
        groups = fields.read("groups", are_groups, GROUPS_FORM)
        disabled = fields.read("disabled", is_bool, "true or false")
        fields.check()
        kept = await self._passwords.hash(password) if password is not None else None
        changed: dict[str, Any] = {"groups": groups, "disabled": disabled, "password": "new" if password else None}

        async def work(transaction: Transaction) -> tuple[User, Event]:
            user = await rows.change(transaction, name, kept, groups, disabled)
            if user is None:
                raise unknown(name)
            detail = {"user": name, **{key: value for key, value in changed.items() if value is not None}}
            return user, Event("user.change", detail=detail)

        return await self._changes.make(by, work)

    async def delete(self, name: str, by: By) -> None:
        """Delete the user, with grants and tokens. Raises Unknown, NoAdministrator."""

        async def work(transaction: Transaction) -> tuple[None, Event]:
            if not await rows.delete(transaction, name):
                raise unknown(name)
            return None, Event("user.delete", detail={"user": name})

        await self._changes.make(by, work)

    async def has_administrator(self) -> bool:
        """Whether anybody can administer all."""
        return await rows.administrators(self._database) > 0

    async def ensure_administrator(self, name: str, password: str, by: By) -> None:
        """Let there be an enabled administrator with that name and password."""
        with suppress(Exists):  # made by another replica that starts at the same time
            if await rows.find(self._database, name) is None:
                await self.create({"name": name, "password": password, "admin": True}, by)
                return
        known = await rows.password_of(self._database, name)
        right = known is not None and await self._passwords.verify(known.hash, password)
        administers = await rows.administers(self._database, name)
        if right and administers:
            return
        kept = None if right else await self._passwords.hash(password)

        async def work(transaction: Transaction) -> tuple[None, Event]:
            user = await rows.change(transaction, name, kept, None, False)
            if user is None:
                raise unknown(name)
            if not administers:
                await grant_rows.create(transaction, "user", user.id, None, "*", [Right.ADMIN], by.actor)
            detail = {"user": name, "admin": True, "password": "as before" if right else "new"}
            return None, Event("user.change", detail=detail)

        await self._changes.make(by, work)


def new_password(fields: Fields) -> str | None:
    """The field password, if it is there."""
    password = fields.read("password", lambda value: True, "")
    mistake = passwords.mistake(password) if password is not None else None
    if mistake is not None:
        fields.refuse("password", mistake)
    return password if mistake is None else None


def are_groups(value: object) -> bool:
    """Whether it is a list of groups."""
    return is_list(value, is_name, MOST_GROUPS)


def is_bool(value: object) -> bool:
    """Whether it is true or false."""
    return isinstance(value, bool)


def unknown(name: str) -> Unknown:
    """The error for a user that does not exist."""
    return Unknown(f"no user {name[:100]!r}", {"name": name[:255]})
