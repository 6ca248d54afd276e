"""/api/v1/audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from klein import Response

from artifactapi.api import pages
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Rule
from artifactapi.api.parameters import argument, known
from artifactapi.api.responses import rfc3339
from artifactapi.api.site import Request
from artifactapi.metadata import audit
from artifactapi.metadata.audit import EQUAL, Entry, Filter
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import BadRequest

PATH = "/api/v1/audit"
TIMES = ("since", "until")


class AuditRoutes:
    """Parse, call, respond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served."""
        return [Endpoint(PATH, READS, "audit", Rule.ADMIN, self.listing)]

    async def listing(self, request: Request) -> Response:
        """GET: a page of entries, newest first; ?actor=&action=&repo=&image=&tag=&digest= and ?since=&until=."""
        before, count = pages.by_number(request)
        given = {name: argument(request, name.encode()) or None for name in (*EQUAL, *TIMES)}
        wanted: dict[str, Any] = {name: known(value) for name in EQUAL if (value := given[name]) is not None}
        wanted |= {name: time(name, value) for name in TIMES if (value := given[name]) is not None}
        entries = await audit.listing(self._database, Filter(**wanted), before, count + 1)
        return pages.listing(PATH, "entries", list(map(to_json, entries)), count, "id", **given)


def time(name: str, text: str) -> datetime:
    """A time in RFC 3339; one without a zone is UTC. Raises BadRequest."""
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name} is a time like 2026-11-24T12:00:00Z", {"parameter": name}) from None


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as the API shows it; what it is not about is left out."""
    about = {name: getattr(entry.event, name) for name in ("repo", "image", "tag", "digest")}
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "actor": entry.by.actor,
        "credential": entry.by.credential,
        "address": entry.by.address,
        "request_id": entry.by.request_id,
        "action": entry.event.action,
        **{name: value for name, value in about.items() if value is not None},
        "detail": entry.event.detail,
    }
