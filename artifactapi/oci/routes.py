"""Addresses of the V2 API, read from the right: a name may contain `blobs`, `manifests` or `tags` itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

Kind = Literal["base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers"]


@dataclass(frozen=True, slots=True)
class Route:
    """What an address means; `name` and `reference` are what was written there, unchecked, "" where absent."""

    kind: Kind
    name: str
    reference: str


_FIXED = {
    b"/v2": Route("base", "", ""),
    b"/v2/": Route("base", "", ""),
    b"/v2/_catalog": Route("catalog", "", ""),
}
_WITH_REFERENCE: dict[str, Kind] = {"manifests": "manifest", "blobs": "blob", "referrers": "referrers"}


def parse_path(path: bytes) -> Route | None:
    """The route of a raw request path without its query; None if there is no such address."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    if not path.startswith(b"/v2/"):
        return None
    text = _decode(path) if b"%" in path else path.decode("utf-8", "replace")
    head, _, last = text[4:].rpartition("/")
    name, _, word = head.rpartition("/")
    return _route(name, word, last) if name else None


def _route(name: str, word: str, last: str) -> Route | None:
    if word == "uploads":
        return _upload(name, last)
    if word == "blobs" and last == "uploads":
        return Route("uploads", name, "")
    if word == "tags":
        return Route("tags", name, "") if last == "list" else None
    kind = _WITH_REFERENCE.get(word)
    return Route(kind, name, last) if kind and last else None


def _upload(before: str, last: str) -> Route | None:
    name, _, word = before.rpartition("/")
    if word != "blobs" or not name:
        return None
    return Route("upload", name, last) if last else Route("uploads", name, "")


def _decode(path: bytes) -> str:
    return "/".join(map(_segment, path.split(b"/")))


def _segment(raw: bytes) -> str:
    text = unquote_to_bytes(raw).decode("utf-8", "replace")
    # A slash that was escaped separates nothing: left as %2F, it is outside every grammar.
    return text if "/" not in text else raw.decode("utf-8", "replace")
