"""`artifactapi issuer`."""

from __future__ import annotations

from argparse import Namespace

from artifactapi.api.issuers import to_json
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, every
from artifactapi.commands.output import columns


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "believe the tokens of an OpenID Connect issuer", add)
    adding.add_argument("name", type=typed(text))
    adding.add_argument("url", type=typed(text), help="what its tokens have as their iss")
    adding.add_argument("audience", type=typed(text), help="what they must have as their aud")
    adding.add_argument("--jwks-url", type=typed(text), metavar="URL", help="where its keys are; else as itself says")
    verbs.add("list", "show all issuers", listing)
    deleting = verbs.add("delete", "believe it no more: its identities go, with their grants", delete)
    deleting.add_argument("name", type=typed(text))


def add(given: Namespace) -> Deed:
    """A new issuer."""
    fields = {name: getattr(given, name) for name in ("name", "url", "audience", "jwks_url")}

    async def create(desk: Desk) -> None:
        issuer = await desk.access.issuers.create(fields, desk.by)
        desk.output.say("created", f"tokens of {issuer.url} are believed", **to_json(issuer))

    return create


def listing(given: Namespace) -> Deed:
    """All issuers."""

    async def show(desk: Desk) -> None:
        issuers = await every(desk.access.issuers.listing, "", lambda issuer: issuer.name)
        names = ("name", "url", "audience", "jwks_url", "created_at")
        desk.output.show("issuer", list(map(to_json, issuers)), columns(*names))

    return show


def delete(given: Namespace) -> Deed:
    """An issuer less."""

    async def work(desk: Desk) -> None:
        await desk.access.issuers.delete(given.name, desk.by)
        desk.output.say("deleted", f"tokens of {given.name} are no longer believed", name=given.name)

    return work
