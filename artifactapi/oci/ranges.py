"""Parts of things: byte ranges of a download, chunks of an upload, pages of a list."""

from __future__ import annotations

import re
from dataclasses import dataclass

from artifactapi.oci.errors import BlobUploadInvalid, PaginationInvalid, RangeInvalid, RangeNotSatisfiable, clip

# Bounded digits: a number always fits a bigint, and int() never meets thousands of them.
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"(?:bytes[ \t]+)?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.IGNORECASE)
_COUNT = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: up to `count` entries that sort after `last`."""

    count: int
    last: str


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, length) of the one range a Range header asks for, of content with `size` bytes (RFC 9110, 14.1.2).

    None: serve it all, for a header that is absent, malformed, in another unit or with several ranges.
    Raises RangeNotSatisfiable, with its Content-Range header.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None:
        return None
    first, last = match.groups()
    return _interval(first, last, size) if first else _suffix(last, size)


def _interval(first: str, last: str, size: int) -> tuple[int, int]:
    start, end = int(first), int(last) if last else size - 1
    if start >= size or start > end:
        raise _not_satisfiable(size)
    return start, min(end, size - 1) - start + 1


def _suffix(last: str, size: int) -> tuple[int, int] | None:
    if not last:
        return None
    wanted = int(last)
    if wanted == 0:
        raise _not_satisfiable(size)
    if size == 0:  # satisfiable by the RFC, yet no Content-Range can say so: all of nothing it is
        return None
    length = min(wanted, size)
    return size - length, length


def _not_satisfiable(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(f"no such range in {size} bytes", headers={"Content-Range": f"bytes */{size}"})


def parse_content_range(header: str | None) -> tuple[int, int] | None:
    """(first, last), both inclusive, of the chunk a Content-Range header announces; None without one (end-point 5).

    The spec's form is `a-b`; RFC 9110's `bytes a-b/size` is understood as well. Raises BlobUploadInvalid for what
    is neither, RangeInvalid for a chunk that ends before it begins.
    """
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        raise BlobUploadInvalid("Content-Range is <first>-<last>", {"content_range": clip(header)})
    first, last = int(match[1]), int(match[2])
    if first > last:
        raise RangeInvalid("the chunk ends before it begins", {"content_range": clip(header)})
    return first, last


def parse_page(n: str | None, last: str | None, default: int, most: int) -> Page:
    """The page `?n=&last=` asks for: `default` entries without n, never more than `most`. Raises PaginationInvalid."""
    if n is None:
        return Page(min(default, most), last or "")
    if _COUNT.fullmatch(n) is None:
        raise PaginationInvalid("n is a number of entries", {"n": clip(n)})
    digits = n.lstrip("0") or "0"
    return Page(most if len(digits) > 18 else min(int(digits), most), last or "")
