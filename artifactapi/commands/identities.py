"""`artifactapi identity`."""

from __future__ import annotations

from argparse import Namespace

from artifactapi.api.identities import to_json
from artifactapi.commands import rights
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, every
from artifactapi.commands.output import columns


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "know somebody by what an issuer's tokens claim, with these rights", add)
    adding.add_argument("name", type=typed(text))
    adding.add_argument("issuer", type=typed(text))
    adding.add_argument(
        "--claim",
        dest="claims",
        action="append",
        required=True,
        type=typed(claim),
        metavar="CLAIM=PATTERN",
        help="what they must claim, like repository=octo-org/octo-repo; all of them, if there are several",
    )
    rights.add_arguments(adding)
    verbs.add("list", "show all identities", listing)
    deleting = verbs.add("delete", "forget an identity, with its grants", delete)
    deleting.add_argument("name", type=typed(text))


def claim(given: str) -> tuple[str, str]:
    """The claim's name, and the pattern."""
    name, equals, pattern = text(given).partition("=")
    if not equals:
        raise ValueError("is like repository=octo-org/octo-repo")
    return name, pattern


def add(given: Namespace) -> Deed:
    """A new identity, with grants."""
    fields = {"name": given.name, "issuer": given.issuer, "claims": dict(given.claims)}
    wanted = rights.entries(given)

    async def create(desk: Desk) -> None:
        identities = desk.access.identities
        identity = await identities.create(fields, desk.by)
        await rights.give(desk, f"identity:{given.name}", wanted, lambda: identities.delete(given.name, desk.by))
        shown = rights.described(wanted) or "nothing yet: artifactapi grant add"
        desk.output.say("created", f"identity {identity.name} may {shown}", **to_json(identity))

    return create


def listing(given: Namespace) -> Deed:
    """All identities."""

    async def show(desk: Desk) -> None:
        identities = await every(desk.access.identities.listing, "", lambda identity: identity.name)
        desk.output.show("identity", list(map(to_json, identities)), columns("name", "issuer", "claims", "created_at"))

    return show


def delete(given: Namespace) -> Deed:
    """An identity less."""

    async def work(desk: Desk) -> None:
        await desk.access.identities.delete(given.name, desk.by)
        desk.output.say("deleted", f"identity {given.name} was deleted", name=given.name)

    return work
