"""Errors: their codes, their statuses, their JSON."""

from __future__ import annotations

import json

import pytest

from artifactapi.oci import errors
from artifactapi.oci.errors import OciError, body, clip

# The table of oci.md, and what HTTP asks for beside it.
TABLE = {
    ("UNAUTHORIZED", 401),
    ("DENIED", 403),
    ("UNSUPPORTED", 405),
    ("NAME_INVALID", 400),
    ("NAME_UNKNOWN", 404),
    ("MANIFEST_UNKNOWN", 404),
    ("MANIFEST_INVALID", 400),
    ("MANIFEST_BLOB_UNKNOWN", 404),
    ("BLOB_UNKNOWN", 404),
    ("BLOB_UPLOAD_UNKNOWN", 404),
    ("BLOB_UPLOAD_INVALID", 400),
    ("BLOB_UPLOAD_INVALID", 409),
    ("BLOB_UPLOAD_INVALID", 416),
    ("DIGEST_INVALID", 400),
    ("SIZE_INVALID", 400),
    ("SIZE_INVALID", 413),
    ("TOOMANYREQUESTS", 429),
    ("TAG_INVALID", 400),
    ("PAGINATION_NUMBER_INVALID", 400),
    ("RANGE_INVALID", 416),
    ("URI_TOO_LONG", 414),
    ("BAD_REQUEST", 400),
    ("REQUEST_TIMEOUT", 408),
    ("HEADERS_TOO_LARGE", 431),
    ("NOT_FOUND", 404),
    ("UNAVAILABLE", 503),
    ("UNAVAILABLE", 507),
    ("UPSTREAM_UNAVAILABLE", 502),
    ("UPSTREAM_UNAVAILABLE", 504),
    ("UNKNOWN", 500),
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OciError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_codes_and_statuses(kind: type[OciError]) -> None:
    """Every error has a code and a status of the table, and no pair is left over."""
    assert (kind.code, kind.status) in TABLE
    assert {(k.code, k.status) for k in KINDS} == TABLE


def test_the_body() -> None:
    """The body is the spec's JSON, ASCII, with a detail only where there is one."""
    shown = body([errors.NameInvalid("bad ä", {"name": "\ud800", "at": object}), errors.Denied("no")])
    assert shown.isascii()
    first, second = json.loads(shown)["errors"]
    assert (first["code"], first["message"], first["detail"]["name"]) == ("NAME_INVALID", "bad ä", "\ud800")
    assert second == {"code": "DENIED", "message": "no"}


def test_headers_are_the_error_s_own() -> None:
    """The headers given are copied."""
    given = {"Retry-After": "1"}
    error = errors.Unavailable("later", headers=given)
    given.clear()
    assert error.headers == {"Retry-After": "1"}


@pytest.mark.parametrize("text, shown", [("abc", "abc"), ("abcd", "abc…")])
def test_clip(text: str, shown: str) -> None:
    """What is too long is cut, and shows that it was."""
    assert clip(text, 3) == shown
