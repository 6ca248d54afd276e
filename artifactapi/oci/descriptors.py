"""The fields of a manifest, checked one by one: whatever is wrong is a ManifestInvalid that names the field."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import DigestInvalid, ManifestInvalid, clip

Fields = dict[str, Any]

MAX_VALUES = 300_000
"""Values in a manifest. 4 MiB hold 40,000 descriptors, but as many as 1.4 million empty lists: 100 MB to parse."""

_MAX_TYPE = 255
_MAX_SIZE = (1 << 63) - 1  # what a bigint holds
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of content: its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int


def refuse(message: str, field: str | None = None) -> NoReturn:
    """Raise the ManifestInvalid for a field."""
    raise ManifestInvalid(message, None if field is None else {"field": field})


def decode(content: bytes) -> Fields:
    """The JSON object in the bytes. Of keys that are there twice, the last counts. Raises ManifestInvalid."""
    if content.count(b",") + content.count(b"{") + content.count(b"[") > MAX_VALUES:
        refuse(f"a manifest has at most {MAX_VALUES} values")
    try:
        fields = _DECODER.decode(content.decode())
    except RecursionError:
        refuse("the manifest is nested too deeply")
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        refuse(f"the manifest is not JSON: {error}")
    if not isinstance(fields, dict):
        refuse("a manifest is a JSON object")
    return fields


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def parse_media_type(text: str, field: str) -> str:
    """The type itself, if it can be the type of a manifest and stand in a header. Raises ManifestInvalid."""
    if len(text) > _MAX_TYPE or _MEDIA_TYPE.fullmatch(text) is None:
        refuse(f"{clip(text)!r} is no media type", field)
    return text


def optional_text(fields: Fields, name: str) -> str | None:
    """A text of up to 255 characters; None where it is absent, null or empty. Raises ManifestInvalid."""
    value = fields.get(name)
    return None if value is None or value == "" else _short(value, name)


def parse_descriptor(value: object, field: str) -> Descriptor:
    """The descriptor a field holds. Raises ManifestInvalid."""
    if not isinstance(value, dict):
        refuse(f"{field} is no descriptor", field)
    media_type = _short(value.get("mediaType"), f"{field}.mediaType")
    digest = value.get("digest")
    if not isinstance(digest, str):
        refuse("a descriptor has a digest", f"{field}.digest")
    try:
        parsed = Digest.parse(digest)
    except DigestInvalid as error:
        refuse(error.message, f"{field}.digest")
    return Descriptor(media_type, parsed, _size(value.get("size"), f"{field}.size"))


def listed(value: object) -> Fields | None:
    """What a list of referrers shows of a descriptor that somebody else wrote: the same as of ours, whatever else is in
    it; None for one that is none."""
    if not isinstance(value, dict):
        return None
    try:
        parse_descriptor(value, "manifests")
    except ManifestInvalid:
        return None
    kept = {name: value[name] for name in ("mediaType", "digest", "size")}
    with suppress(ManifestInvalid):
        if kind := optional_text(value, "artifactType"):
            kept["artifactType"] = kind
    with suppress(ManifestInvalid):
        if annotations := parse_annotations(value.get("annotations")):
            kept["annotations"] = annotations
    return kept


def parse_annotations(value: object) -> dict[str, str]:
    """A map of strings, empty where it is absent. Raises ManifestInvalid."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        refuse("annotations are a map of strings", "annotations")
    for key, text in value.items():
        if not isinstance(text, str) or not _storable(text) or not _storable(key):
            refuse(f"annotation {clip(key)!r} is no text", "annotations")
    return value


def _short(value: object, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TYPE or not _storable(value):
        refuse(f"{field} is a text of 1 to {_MAX_TYPE} characters", field)
    return value


def _size(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SIZE:  # a bool is an int to isinstance
        refuse("a descriptor has a size in bytes", field)
    return value


def _storable(text: str) -> bool:
    # Postgres holds no NUL, and UTF-8 no lone surrogate: JSON can write both.
    return "\0" not in text and (text.isascii() or not _SURROGATE.search(text))


_SURROGATE = re.compile("[\ud800-\udfff]")
