"""`artifactapi user`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from artifactapi.api.users import to_json
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, every
from artifactapi.commands.output import columns
from artifactapi.commands.password import add_arguments, new_password
from artifactapi.metadata.users import User


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "make a user; asks for a password", add)
    adding.add_argument("name", type=typed(text))
    adding.add_argument("--admin", action="store_true", help="who administers everything")
    adding.add_argument("--group", dest="groups", action="append", help="a group; may be given again")
    add_arguments(adding, ask=True)
    verbs.add("list", "show all users", listing)
    changing = verbs.add("change", "another password, other groups; lock out, or in again", change)
    changing.add_argument("name", type=typed(text))
    add_arguments(changing, ask=False)
    groups = changing.add_mutually_exclusive_group()
    groups.add_argument("--group", dest="groups", action="append", help="a group instead of those before")
    groups.add_argument("--no-groups", dest="groups", action="store_const", const=[], help="no group any more")
    locks = changing.add_mutually_exclusive_group()
    locks.add_argument("--disable", dest="disabled", action="store_true", default=None, help="nobody logs in as this")
    locks.add_argument("--enable", dest="disabled", action="store_false", default=None, help="again")
    verbs.add("delete", "delete a user, with grants and tokens", delete).add_argument("name", type=typed(text))


def add(given: Namespace) -> Deed:
    """A new user."""
    password = new_password(given)
    fields = {"name": given.name, "password": password, "groups": given.groups, "admin": given.admin}

    async def create(desk: Desk) -> None:
        user = await desk.access.users.create(fields, desk.by)
        say(desk, "created", user, password if given.source == "random" else None)

    return create


def listing(given: Namespace) -> Deed:
    """All users."""

    async def show(desk: Desk) -> None:
        users = await every(desk.access.users.listing, "", lambda user: user.name)
        desk.output.show("user", list(map(to_json, users)), columns("name", "groups", "disabled", "created_at"))

    return show


def change(given: Namespace) -> Deed:
    """What is given changes, the rest stays."""
    password = new_password(given)
    wanted = {"password": password, "groups": given.groups, "disabled": given.disabled}
    fields: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if not fields:
        raise SystemExit("artifactapi: nothing is to be changed; see artifactapi user change --help")

    async def work(desk: Desk) -> None:
        user = await desk.access.users.change(given.name, fields, desk.by)
        say(desk, "changed", user, password if given.source == "random" else None)

    return work


def delete(given: Namespace) -> Deed:
    """A user less."""

    async def work(desk: Desk) -> None:
        await desk.access.users.delete(given.name, desk.by)
        desk.output.say("deleted", f"user {given.name} was deleted", name=given.name)

    return work


def say(desk: Desk, event: str, user: User, made: str | None) -> None:
    """What was done; or the password that was made, alone on standard output."""
    if made is None:
        desk.output.say(event, f"user {user.name} was {event}", **to_json(user))
    else:
        desk.output.secret(made, f"user {user.name} was {event}; this is the password")
