"""`artifactapi issuer`."""

from __future__ import annotations

from argparse import Namespace
from operator import attrgetter

from artifactapi.api.issuers import to_json
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, deletion_of, listing_of


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "believe the tokens of an OpenID Connect issuer", add)
    adding.add_argument("name", type=typed(text))
    adding.add_argument("url", type=typed(text), help="what its tokens have as their iss")
    adding.add_argument("audience", type=typed(text), help="what they must have as their aud")
    adding.add_argument("--jwks-url", type=typed(text), metavar="URL", help="where its keys are; else as itself says")
    verbs.add(
        "list",
        "show all issuers",
        listing_of("issuer", attrgetter("issuers"), to_json, "url", "audience", "jwks_url", "created_at"),
    )
    deleting = verbs.add(
        "delete",
        "believe it no more: its identities go, with their grants",
        deletion_of(attrgetter("issuers"), "tokens of {} are no longer believed"),
    )
    deleting.add_argument("name", type=typed(text))


def add(given: Namespace) -> Deed:
    """A new issuer."""
    fields = {name: getattr(given, name) for name in ("name", "url", "audience", "jwks_url")}

    async def create(desk: Desk) -> None:
        issuer = await desk.access.issuers.create(fields, desk.by)
        desk.output.say("created", f"tokens of {issuer.url} are believed", **to_json(issuer))

    return create
