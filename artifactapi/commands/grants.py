"""`artifactapi grant`."""

from __future__ import annotations

from argparse import Namespace

from artifactapi.api.grants import to_json
from artifactapi.api.pages import number
from artifactapi.commands.arguments import Parser, Verbs, text, typed
from artifactapi.commands.desk import Deed, Desk, every
from artifactapi.commands.output import columns
from artifactapi.metadata.grants import Granted


def declare(parser: Parser) -> None:
    """The verbs and their arguments."""
    verbs = Verbs(parser)
    adding = verbs.add("add", "let somebody do something", add)
    adding.add_argument("to", type=typed(text), metavar="WHO", help="user:NAME, token:NAME, identity:NAME, group:NAME")
    adding.add_argument("rights", type=typed(text), help="pull, push, delete, admin; or several, with commas")
    adding.add_argument("repo", type=typed(text), metavar="REPO[/IMAGES]", help="a repo's name, or * for every repo")
    adding.add_argument("images", type=typed(text), nargs="?", help="a pattern like 'team/*'; all, if not given")
    listed = verbs.add("list", "show all grants", listing)
    listed.add_argument("--repo", type=typed(text), help="those on a repo; * is those on every repo")
    listed.add_argument("--to", type=typed(text), metavar="WHO", help="those to somebody")
    verbs.add("delete", "take a grant back", delete).add_argument("id", type=typed(text), metavar="ID")


def add(given: Namespace) -> Deed:
    """A new grant."""
    repo, _, images = given.repo.partition("/")
    if images and given.images:
        raise SystemExit("artifactapi: images are given twice; see artifactapi grant add --help")
    wanted = {"repo": repo, "images": images or given.images, "rights": given.rights.split(",")}

    async def create(desk: Desk) -> None:
        grant = await desk.access.grants.create({"to": given.to, **wanted}, desk.by)
        what = f"{given.to} may {','.join(grant.rights)} {grant.repo}/{grant.images} (grant {grant.id})"
        desk.output.say("created", what, **to_json(grant))

    return create


def listing(given: Namespace) -> Deed:
    """All grants, or some."""

    async def page(desk: Desk, last: int, count: int) -> list[Granted]:
        return await desk.access.grants.listing(last, count, given.repo, given.to)

    async def show(desk: Desk) -> None:
        found = await every(lambda last, count: page(desk, last, count), 0, lambda grant: grant.id)
        names = ("id", "to", "rights", "repo", "images", "created_by", "created_at")
        desk.output.show("grant", list(map(to_json, found)), columns(*names))

    return show


def delete(given: Namespace) -> Deed:
    """A grant less."""

    async def work(desk: Desk) -> None:
        grant = await desk.access.grants.read(number(given.id))
        await desk.access.grants.delete(grant.id, desk.by)
        what = f"{grant.to} may no longer {','.join(grant.rights)} {grant.repo}/{grant.images} by grant {grant.id}"
        desk.output.say("deleted", what, **to_json(grant))

    return work
