"""`artifactapi audit`."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from artifactapi.api.audit import TIMES, time, to_json
from artifactapi.api.pages import number
from artifactapi.commands.arguments import Parser, complete, text, typed
from artifactapi.commands.desk import Deed, Desk
from artifactapi.commands.output import Entry
from artifactapi.metadata import audit
from artifactapi.metadata.audit import EQUAL, Filter
from artifactapi.tap import whole


def declare(parser: Parser) -> None:
    """The arguments."""
    parser.description = "show who did what, newest first"
    for name in EQUAL:
        parser.add_argument(f"--{name}", type=typed(text), help=f"entries with this {name} alone")
    for name in TIMES:
        parser.add_argument(f"--{name}", type=typed(text), metavar="TIME", help="like 2026-11-24T12:00:00Z")
    parser.add_argument("--before", type=typed(number), metavar="ID", help="those that are older than this entry")
    parser.add_argument("--count", type=typed(whole(1, 10_000)), default=100, help="at most so many; 100, if not given")
    complete(parser, listing)


def listing(given: Namespace) -> Deed:
    """Some entries."""
    since, until = (given_time(given, name) for name in TIMES)
    wanted = Filter(**{name: getattr(given, name) for name in EQUAL}, since=since, until=until)

    async def show(desk: Desk) -> None:
        entries = await audit.listing(desk.database, wanted, given.before, given.count)
        desk.output.show("entry", list(map(to_json, entries)), people)

    return show


def people(entry: Entry) -> Entry:
    """What people want to see of an entry."""
    name = "/".join(entry[part] for part in ("repo", "image") if part in entry)
    tag = f":{entry['tag']}" if "tag" in entry else ""
    digest = f"@{entry['digest']}" if "digest" in entry else ""
    shown = {field: entry[field] for field in ("id", "at", "actor", "credential", "address", "action")}
    return {**shown, "what": f"{name}{tag}{digest}", "detail": entry["detail"]}


def given_time(given: Namespace, name: str) -> datetime | None:
    """That time, if it is given. Raises BadRequest."""
    value = getattr(given, name)
    return None if value is None else time(name, value)
