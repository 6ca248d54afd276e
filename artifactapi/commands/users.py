"""`artifactapi user`."""

from __future__ import annotations

from argparse import Namespace
from operator import attrgetter
from typing import Any

from artifactapi.api.users import to_json
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, deletion_of, listing_of
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
    verbs.add(
        "list", "show all users", listing_of("user", attrgetter("users"), to_json, "groups", "disabled", "created_at")
    )
    changing = verbs.add("change", "another password, other groups; lock out, or in again", change)
    changing.add_argument("name", type=typed(text))
    add_arguments(changing, ask=False)
    groups = changing.add_mutually_exclusive_group()
    groups.add_argument("--group", dest="groups", action="append", help="a group instead of those before")
    groups.add_argument("--no-groups", dest="groups", action="store_const", const=[], help="no group any more")
    locks = changing.add_mutually_exclusive_group()
    locks.add_argument("--disable", dest="disabled", action="store_true", default=None, help="nobody logs in as this")
    locks.add_argument("--enable", dest="disabled", action="store_false", default=None, help="again")
    verbs.add(
        "delete", "delete a user, with grants and tokens", deletion_of(attrgetter("users"), "user {} was deleted")
    ).add_argument("name", type=typed(text))


def add(given: Namespace) -> Deed:
    """A new user."""
    password = new_password(given)
    fields = {"name": given.name, "password": password, "groups": given.groups, "admin": given.admin}

    async def create(desk: Desk) -> None:
        user = await desk.access.users.create(fields, desk.by)
        say(desk, "created", user, password if given.source == "random" else None)

    return create


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


def say(desk: Desk, event: str, user: User, made: str | None) -> None:
    """What was done; or the password that was made, alone on standard output."""
    if made is None:
        desk.output.say(event, f"user {user.name} was {event}", **to_json(user))
    else:
        desk.output.secret(made, f"user {user.name} was {event}; this is the password")
