"""Pages of the management API's lists, of rows that are known by a name or by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klein import Response

from artifactapi.api.parameters import argument, known
from artifactapi.api.responses import json_response, next_link
from artifactapi.api.site import Request
from artifactapi.oci.errors import PaginationInvalid
from artifactapi.oci.ranges import Page, parse_page

DEFAULT, MOST = 100, 1000
DIGITS = 18  # always fits a bigint


def number(text: str) -> int:
    """The number in a path; what is none stands for no row."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else 0


def by_name(request: Request) -> Page:
    """What is asked for of a list by name. Raises PaginationInvalid."""
    page = parse_page(argument(request, b"n"), argument(request, b"last"), DEFAULT, MOST)
    return Page(page.count, known(page.last))


def by_number(request: Request) -> tuple[int | None, int]:
    """`last` (None: from the beginning) and how many, of a list by number. Raises PaginationInvalid."""
    page = by_name(request)
    if not page.last:
        return None, page.count
    if not number(page.last):
        raise PaginationInvalid("last is the id of an entry", {"last": page.last[:100]})
    return number(page.last), page.count


def listing(
    path: str, name: str, entries: Sequence[dict[str, Any]], count: int, by: str = "id", **params: str | None
) -> Response:
    """A page of at most `count` entries, of which one more was asked for; with a link to the next, if it came."""
    shown = list(entries[:count])
    more = len(entries) > count > 0
    headers = next_link(path, **params, n=count, last=shown[-1][by]) if more else {}
    return json_response(200, {name: shown}, headers)
