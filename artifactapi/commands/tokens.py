"""`artifactapi token`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from artifactapi.api.pages import number
from artifactapi.api.tokens import to_json
from artifactapi.commands import rights
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, every
from artifactapi.commands.output import columns
from artifactapi.metadata.tokens import Token
from artifactapi.tap import whole

DAY = 86_400
MOST_DAYS = 3660


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "make a token with these rights; its secret is printed, this once", add)
    adding.add_argument("name", type=typed(text))
    adding.add_argument("--days", type=typed(whole(1, MOST_DAYS)), help="how long it is good for; else for ever")
    adding.add_argument("--user", type=typed(text), help="who acts by it; these rights are then its limit")
    rights.add_arguments(adding)
    listed = verbs.add("list", "show all tokens", listing)
    listed.add_argument("--user", type=typed(text), help="those of a user alone")
    listed.add_argument("--logins", action="store_true", help="also what clients that logged in come back with")
    verbs.add("delete", "revoke a token", delete).add_argument(
        "token", type=typed(text), metavar="TOKEN", help="its name, or its id"
    )


def add(given: Namespace) -> Deed:
    """A new token: of a machine, with grants; or of a user, limited to a scope."""
    wanted = rights.entries(given)
    fields = {"name": given.name, "user": given.user, "expires_in": given.days and given.days * DAY}
    if given.user is not None and wanted:
        fields["scope"] = wanted

    async def create(desk: Desk) -> None:
        token, secret = await desk.access.tokens.create(fields, desk.by)
        if given.user is None:
            await rights.give(desk, f"token:{token.name}", wanted, lambda: desk.access.tokens.delete(token.id, desk.by))
        desk.output.secret(secret, described(token, wanted))

    return create


def described(token: Token, wanted: Sequence[rights.Entry]) -> str:
    """What was made, in words."""
    until = f" until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else ""
    what = rights.described(wanted) or (
        "nothing yet: artifactapi grant add" if token.user is None else f"all that {token.user} may"
    )
    return f"token {token.name} was created{until}, for {what}; clients log in with it as the password of any user name"


def listing(given: Namespace) -> Deed:
    """All tokens, or those of a user."""

    async def page(desk: Desk, last: int, count: int) -> list[Token]:
        return await desk.access.tokens.listing(last, count, given.user)

    async def show(desk: Desk) -> None:
        found = await every(lambda last, count: page(desk, last, count), 0, lambda token: token.id)
        shown = [to_json(token) for token in found if token.name is not None or given.logins]
        names = ("id", "name", "user", "scope", "created_by", "created_at", "expires_at", "last_used_at")
        desk.output.show("token", shown, columns(*names))

    return show


def delete(given: Namespace) -> Deed:
    """A token less."""

    async def work(desk: Desk) -> None:
        tokens = desk.access.tokens
        token = await (tokens.read(number(given.token)) if given.token.isdigit() else tokens.named(given.token))
        await tokens.delete(token.id, desk.by)
        shown = f"token {token.name}" if token.name is not None else f"login {token.id}"
        desk.output.say("deleted", f"{shown} was revoked", id=token.id, name=token.name)

    return work
