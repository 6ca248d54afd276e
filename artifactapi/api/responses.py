"""Answers: each with its length and its type, so that Klein and Twisted guess neither."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from klein import Response

JSON = "application/json"
Headers = Mapping[str, str | list[str]]


def respond(code: int, body: bytes = b"", headers: Headers | None = None, content_type: str | None = None) -> Response:
    """An answer with these bytes."""
    given: dict[str | bytes, str | bytes | Sequence[str | bytes]] = {"Content-Length": str(len(body))}
    given.update(headers or {})
    if content_type or body:
        given["Content-Type"] = content_type or JSON
    if code in (204, 304):  # neither may announce a body
        del given["Content-Length"]
    return Response(code, given, body)


def json_response(code: int, content: Any, headers: Headers | None = None, content_type: str = JSON) -> Response:
    """An answer with `content` as JSON."""
    return respond(code, json.dumps(content, separators=(",", ":")).encode(), headers, content_type)


def next_link(path: str, **params: str | int | None) -> dict[str, str]:
    """The Link header to the next page; parameters that are None are left out."""
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in params.items() if value is not None)
    return {"Link": f'<{path}?{query}>; rel="next"'}


def from_where(source: str) -> dict[str, str]:
    """The headers that say where an answer comes from."""
    headers = {"X-Artifact-Source": source}
    if source == "stale":
        headers["Warning"] = '299 - "the upstream does not answer; this may not be its newest"'
    return headers


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this entity tag (weakly compared, RFC 9110 13.1.2)."""
    if header is None:
        return False
    given = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in given or etag in given


def rfc3339(time: datetime) -> str:
    """A time in UTC, as the API shows it."""
    return time.isoformat().replace("+00:00", "Z")
