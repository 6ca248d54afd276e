"""`artifactapi key`."""

from __future__ import annotations

from argparse import Namespace

from artifactapi.api.responses import rfc3339
from artifactapi.commands.arguments import Parser, Verbs
from artifactapi.commands.desk import Deed, Desk
from artifactapi.commands.output import columns


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    verbs.add("list", "show the keys whose signatures are believed, newest first", listing)
    rotating = verbs.add("rotate", "sign bearer tokens with a new key; nobody is logged out", rotate)
    rotating.add_argument("--revoke", action="store_true", help="believe no older key: what it has signed is worthless")


def listing(given: Namespace) -> Deed:
    """All keys, without what is secret of them."""

    async def show(desk: Desk) -> None:
        found = await desk.access.keys.listing()
        shown = [{"id": key.id, "created_at": rfc3339(key.created_at)} for key in found]
        desk.output.show("key", shown, columns("id", "created_at"))

    return show


def rotate(given: Namespace) -> Deed:
    """One more key."""

    async def work(desk: Desk) -> None:
        key = await desk.access.keys.rotate(given.revoke, desk.by)
        when = "now, and no other is believed" if given.revoke else "in some seconds; the others are still believed"
        desk.output.say("created", f"key {key} signs {when}", id=key, revoke=given.revoke)

    return work
