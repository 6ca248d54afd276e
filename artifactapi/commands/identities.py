"""`artifactapi identity`."""

from __future__ import annotations

from argparse import Namespace
from operator import attrgetter

from artifactapi.api.identities import to_json
from artifactapi.commands import rights
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, deletion_of, listing_of


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
    verbs.add(
        "list",
        "show all identities",
        listing_of("identity", attrgetter("identities"), to_json, "issuer", "claims", "created_at"),
    )
    deleting = verbs.add(
        "delete",
        "forget an identity, with its grants",
        deletion_of(attrgetter("identities"), "identity {} was deleted"),
    )
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
