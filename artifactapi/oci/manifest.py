"""Manifests: what they name, and what of them the referrers list shows. Their bytes are never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

from artifactapi.oci.descriptors import (
    Descriptor,
    Fields,
    decode,
    optional_text,
    parse_annotations,
    parse_descriptor,
    parse_media_type,
    refuse,
)
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import ManifestInvalid, clip

__all__ = ["MAX_MANIFEST", "Descriptor", "Manifest", "Reference", "parse_manifest"]

MAX_MANIFEST = 4 * 1024 * 1024
"""Bytes of the largest manifest that is taken (end-point 7a)."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

_IMAGES = (OCI_MANIFEST, DOCKER_MANIFEST)
_INDEXES = (OCI_INDEX, DOCKER_LIST)
_KNOWN = (*_IMAGES, *_INDEXES, OCI_ARTIFACT)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
# What an HTTP client says when nobody told it a type: served again as such, no client would know the manifest.
_NO_MANIFESTS = (
    "application/octet-stream",
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
)
# Layers that need not be pushed, since a licence may forbid it.
_NONDISTRIBUTABLE = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
# BuildKit's cache is an index whose entries are layers and a config: these are blobs wherever they stand.
_BLOBS = (
    "application/vnd.oci.image.layer.",
    "application/vnd.oci.image.config.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.",
    "application/vnd.buildkit.cacheconfig.",
)

Kind = Literal["config", "layer", "manifest"]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """Content a manifest names; `size` in bytes is what the manifest says."""

    digest: Digest
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry has to know of a manifest.

    `artifact_type` is as the referrers list shows it. `references` have to exist in the image; `optional` are its
    non-distributable layers: they may be missing, and are to be kept where they are not. Nothing is named twice.
    """

    media_type: str
    artifact_type: str | None
    subject: Digest | None
    annotations: dict[str, str]
    references: tuple[Reference, ...]
    optional: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class _Named:
    reference: Reference
    required: bool


def parse_manifest(content: bytes, content_type: str | None) -> Manifest:
    """The manifest in `content`, pushed with that Content-Type. Raises ManifestInvalid.

    The types of the OCI and of Docker's schema 2 must be well-formed. Any other JSON object is welcome: of it, only
    what looks like descriptors is read.
    """
    fields = decode(content)
    media_type = _type_of(fields, content_type)
    return _known(media_type, fields) if media_type in _KNOWN else _unknown(media_type, fields)


def _type_of(fields: Fields, content_type: str | None) -> str:
    field, sent = optional_text(fields, "mediaType"), (content_type or "").partition(";")[0].strip()
    if field and sent and field.lower() != sent.lower():
        refuse(f"Content-Type {clip(sent)!r} is not the manifest's mediaType {clip(field)!r}", "mediaType")
    given = parse_media_type(sent or field or _guess(fields), "mediaType")
    lower = given.lower()
    if is_no_type(lower):
        refuse(f"{lower} is not the type of a manifest: send its media type as Content-Type", "mediaType")
    if lower.startswith(_SCHEMA_1):
        refuse("Docker's schema 1 is not taken: push with a client newer than Docker 1.10", "mediaType")
    return lower if lower in _KNOWN else given


def is_no_type(media_type: str) -> bool:
    """Whether it says nothing of a manifest, or is empty."""
    return not media_type or media_type.lower() in _NO_MANIFESTS


def _guess(fields: Fields) -> str:
    """The type of a manifest that nothing names: the OCI's media type field is optional."""
    if fields.get("schemaVersion") == 1:
        return f"{_SCHEMA_1}json"
    if "manifests" in fields:
        return OCI_INDEX
    if "config" in fields or "layers" in fields:
        return OCI_MANIFEST
    return refuse("the manifest has no mediaType and came without a Content-Type", "mediaType")


def _known(media_type: str, fields: Fields) -> Manifest:
    if media_type != OCI_ARTIFACT:
        _require_version(fields)
    references, optional = _sorted_out(_contents(media_type, fields))
    artifact_type = optional_text(fields, "artifactType")
    if artifact_type is None and media_type in _IMAGES:
        artifact_type = fields["config"]["mediaType"]  # end-point 12; it was checked with the rest of the config
    subject = fields.get("subject")
    return Manifest(
        media_type=media_type,
        artifact_type=artifact_type,
        subject=None if subject is None else parse_descriptor(subject, "subject").digest,
        annotations=parse_annotations(fields.get("annotations")),
        references=references,
        optional=optional,
    )


def _require_version(fields: Fields) -> None:
    version = fields.get("schemaVersion")
    if type(version) is not int or version != 2:
        refuse("schemaVersion is 2", "schemaVersion")


def _contents(media_type: str, fields: Fields) -> Iterator[_Named]:
    if media_type in _IMAGES:
        _require(fields, "config", "layers")
        _forbid(fields, "manifests")
        yield _config(fields["config"], "config")
        yield from _entries(fields, "layers", _layer)
    elif media_type in _INDEXES:
        _require(fields, "manifests")
        _forbid(fields, "config", "layers")
        yield from _entries(fields, "manifests", _child)
    else:
        yield from _entries(fields, "blobs", _layer)


def _require(fields: Fields, *names: str) -> None:
    for name in names:
        if name not in fields:
            refuse(f"a manifest of this type has {name}", name)


def _forbid(fields: Fields, *names: str) -> None:
    """Refuse a document that is an image to one reader and an index to another (CVE-2021-41190)."""
    for name in names:
        if fields.get(name) is not None:
            refuse(f"a manifest of this type has no {name}", name)


def _entries(fields: Fields, name: str, read: Callable[[object, str], _Named]) -> Iterator[_Named]:
    """The entries of a list. null is an empty one, as Go writes and reads it."""
    value = fields.get(name)
    if value is not None and not isinstance(value, list):
        refuse(f"{name} is a list of descriptors", name)
    return (read(entry, f"{name}[{place}]") for place, entry in enumerate(value or ()))


def _config(entry: object, field: str) -> _Named:
    descriptor = parse_descriptor(entry, field)
    return _Named(Reference(descriptor.digest, "config", descriptor.size), True)


def _layer(entry: object, field: str) -> _Named:
    descriptor = parse_descriptor(entry, field)
    elsewhere = isinstance(entry, dict) and bool(entry.get("urls"))
    required = not elsewhere and not descriptor.media_type.startswith(_NONDISTRIBUTABLE)
    return _Named(Reference(descriptor.digest, "layer", descriptor.size), required)


def _child(entry: object, field: str) -> _Named:
    descriptor = parse_descriptor(entry, field)
    if descriptor.media_type.startswith(_BLOBS):
        return _layer(entry, field)
    return _Named(Reference(descriptor.digest, "manifest", descriptor.size), True)


def _sorted_out(named: Iterable[_Named]) -> tuple[tuple[Reference, ...], tuple[Reference, ...]]:
    """What must be there and what may be, each once; what is named as both must."""
    required: dict[tuple[Digest, bool], Reference] = {}
    optional: dict[tuple[Digest, bool], Reference] = {}
    for entry in named:
        key = (entry.reference.digest, entry.reference.kind == "manifest")
        (required if entry.required else optional).setdefault(key, entry.reference)
    return tuple(required.values()), tuple(optional[key] for key in optional if key not in required)


def _unknown(media_type: str, fields: Fields) -> Manifest:
    """A manifest of a type whose rules we do not know: what is not as we know it is left alone."""
    references, optional = _sorted_out(_plausible(fields))
    subject = _attempt(parse_descriptor, fields.get("subject"), "subject")
    return Manifest(
        media_type=media_type,
        artifact_type=_attempt(optional_text, fields, "artifactType"),
        subject=None if subject is None else subject.digest,
        annotations=_attempt(parse_annotations, fields.get("annotations")) or {},
        references=references,
        optional=optional,
    )


def _plausible(fields: Fields) -> Iterator[_Named]:
    readers: dict[str, Callable[[object, str], _Named]] = {
        "config": _config, "layers": _layer, "blobs": _layer, "manifests": _child,
    }  # fmt: skip
    for name, read in readers.items():
        value = fields.get(name)
        for entry in value if isinstance(value, list) else (value,):
            named = _attempt(read, entry, name) if _looks_like_descriptor(entry) else None
            if named is not None:
                yield named


def _looks_like_descriptor(entry: object) -> bool:
    """Whether it is worth an exception to find out: thousands of those would hold up everybody else."""
    return isinstance(entry, dict) and isinstance(entry.get("digest"), str) and isinstance(entry.get("mediaType"), str)


def _attempt(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    try:
        return read(*args, **kwargs)
    except ManifestInvalid:
        return None
