"""Ranges, chunks and pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.errors import BlobUploadInvalid, PaginationInvalid, RangeInvalid, RangeNotSatisfiable
from artifactapi.oci.ranges import Page, parse_content_range, parse_page, parse_range


@pytest.mark.parametrize(
    "header, size, expected",
    [
        (None, 10, None),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=2-5", 10, (2, 4)),
        ("bytes=2-", 10, (2, 8)),
        ("bytes=5-500", 10, (5, 5)),
        ("bytes=-3", 10, (7, 3)),
        ("bytes=-500", 10, (0, 10)),
        ("BYTES = 0-1", 10, None),
        ("Bytes=0-1", 10, (0, 2)),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("items=0-1", 10, None),
        ("bytes=0-" + "9" * 19, 10, None),
        ("bytes=-5", 0, None),
    ],
)
def test_ranges(header: str | None, size: int, expected: tuple[int, int] | None) -> None:
    """One range of RFC 9110 is understood, an end past the end is clamped, anything else means: all of it."""
    assert parse_range(header, size) == expected


@pytest.mark.parametrize("header, size", [("bytes=10-", 10), ("bytes=500-0", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_unsatisfiable_ranges(header: str, size: int) -> None:
    """A range of bytes that do not exist is 416 with the size."""
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, size)
    assert caught.value.headers == {"Content-Range": f"bytes */{size}"}


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 15))
def test_a_range_is_a_slice(first: int, last: int, size: int) -> None:
    """What is served is what a slice of the content is."""
    content = bytes(range(size))
    try:
        part = parse_range(f"bytes={first}-{last}", size)
    except RangeNotSatisfiable:
        assert not content[first : last + 1]
        return
    assert part is not None
    assert content[part[0] : part[0] + part[1]] == content[first : last + 1]


@pytest.mark.parametrize(
    "header, expected",
    [
        (None, None),
        ("0-0", (0, 0)),
        ("5-9", (5, 9)),
        ("bytes 5-9/100", (5, 9)),
        ("bytes 5-9/*", (5, 9)),
        (" 0-1 ", (0, 1)),
    ],
)
def test_content_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    """The spec's form and RFC 9110's both name a chunk."""
    assert parse_content_range(header) == expected


@pytest.mark.parametrize("header", ["", "x", "1", "1-", "-1", "0-1,2-3", "a-b", "0-" + "9" * 19, "bytes=0-1", "٣-٤"])
def test_malformed_content_ranges(header: str) -> None:
    """Anything else is 400 BLOB_UPLOAD_INVALID."""
    with pytest.raises(BlobUploadInvalid):
        parse_content_range(header)


def test_a_chunk_that_ends_before_it_begins() -> None:
    """Such a chunk is a range error: 416."""
    with pytest.raises(RangeInvalid) as caught:
        parse_content_range("5-4")
    assert caught.value.status == 416


@pytest.mark.parametrize(
    "n, last, expected",
    [
        (None, None, Page(50, "")),
        ("10", "x", Page(10, "x")),
        ("0", None, Page(0, "")),
        ("1000", None, Page(100, "")),
        ("9" * 5000, None, Page(100, "")),
        ("007", None, Page(7, "")),
    ],
)
def test_pages(n: str | None, last: str | None, expected: Page) -> None:
    """A page has a default and a bound, and a number is read whatever its length."""
    assert parse_page(n, last, 50, 100) == expected


@pytest.mark.parametrize("n", ["", "-1", "+1", "1.0", "a", " 1", "1 ", "٣", "0x1"])
def test_malformed_pages(n: str) -> None:
    """A count that is no number is PAGINATION_NUMBER_INVALID."""
    with pytest.raises(PaginationInvalid):
        parse_page(n, None, 50, 100)
