"""Rows of what was done, by whom, to what."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from twisted.logger import Logger

from artifactapi.metadata.database import Json, Queryable, Transaction

log = Logger()


@dataclass(frozen=True, slots=True)
class By:
    """Who does it: `actor` (user:alice), with which `credential`, from which address, in which request."""

    actor: str
    credential: str
    address: str
    request_id: str


SYSTEM = By("system", "none", "", "")
"""The daemon itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """What was done."""

    action: str
    repo: str | None = None
    image: str | None = None
    tag: str | None = None
    digest: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the audit."""

    id: int
    at: datetime
    by: By
    event: Event


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries: each that is not None must be equal; `since` and `until` are times."""

    actor: str | None = None
    action: str | None = None
    repo: str | None = None
    image: str | None = None
    tag: str | None = None
    digest: str | None = None
    since: datetime | None = None
    until: datetime | None = None


SHOWN = ("repo", "image", "tag", "digest")
EQUAL = ("actor", "action", "repo", "image", "tag", "digest")
COLUMNS = "actor, credential, address, request_id, action, repo, image, tag, digest, detail"


async def record(db: Queryable, by: By, *events: Event) -> None:
    """Write them down: in the transaction that does it, so that there is neither without the other.

    The log shows them when they are committed.
    """
    about = [
        list(column) for column in zip(*((e.action, e.repo, e.image, e.tag, e.digest) for e in events), strict=True)
    ]
    await db.query(
        f"""INSERT INTO audit ({COLUMNS}) SELECT %s, %s, %s, %s, * FROM unnest(
            %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[])""",
        (by.actor, by.credential, by.address, by.request_id, *about, [Json(event.detail) for event in events]),
    )
    if isinstance(db, Transaction):
        db.committed.append(lambda: show(by, events))
    else:
        show(by, events)


def show(by: By, events: Iterable[Event]) -> None:
    """The same in the log."""
    for event in events:
        what = {name: value for name in SHOWN if (value := getattr(event, name)) is not None}
        log.info(
            "audit: {action} {what} by {actor} ({credential}) from {address} {request_id}",
            what=" ".join(f"{name}={text(value)}" for name, value in (what | event.detail).items()),
            **what,
            action=event.action,
            actor=by.actor,
            credential=by.credential,
            address=by.address,
            request_id=by.request_id,
        )


def text(value: object) -> str:
    """A value on a line of the log."""
    return value if isinstance(value, str) else json.dumps(value)


async def listing(db: Queryable, wanted: Filter, before: int | None, count: int) -> list[Entry]:
    """Up to `count` entries, newest first; those with an id below `before`, if given."""
    given = {name: value for name in Filter.__slots__ if (value := getattr(wanted, name)) is not None}
    conditions = [f"{name} = %({name})s" for name in EQUAL if name in given]
    conditions += ["at >= %(since)s"] * ("since" in given) + ["at < %(until)s"] * ("until" in given)
    rows = await db.query(
        f"""SELECT id, at, {COLUMNS} FROM audit WHERE {
            " AND ".join(["(%(before)s::bigint IS NULL OR id < %(before)s)", *conditions])
        } ORDER BY id DESC LIMIT %(count)s""",
        {**given, "before": before, "count": count},
    )
    return [Entry(row[0], row[1], By(*row[2:6]), Event(*row[6:])) for row in rows]
