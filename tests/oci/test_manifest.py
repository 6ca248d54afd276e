"""Manifests: what they name, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.descriptors import MAX_VALUES
from artifactapi.oci.errors import ManifestInvalid
from artifactapi.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DELETE = object()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def descriptor(number: int, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(number), "size": number, **more}


def image(**changes: Any) -> dict[str, Any]:
    fields = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(1, CONFIG),
        "layers": [descriptor(2), descriptor(3)],
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not DELETE}


def index(**changes: Any) -> dict[str, Any]:
    fields = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(4, OCI_MANIFEST), descriptor(5, OCI_INDEX)],
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not DELETE}


def parsed(fields: Any, content_type: str | None = None) -> Manifest:
    return parse_manifest(json.dumps(fields).encode(), content_type)


def named(manifest: Manifest) -> list[tuple[str, int]]:
    return [(reference.kind, int(reference.digest.hex, 16)) for reference in manifest.references]


def refused(content: Any, content_type: str | None = None) -> ManifestInvalid:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(data, content_type)
    assert len(caught.value.message) < 500
    return caught.value


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_images(media_type: str) -> None:
    """An image names its config and its layers; its type for referrers is that of its config."""
    manifest = parsed(image(mediaType=media_type))
    assert named(manifest) == [("config", 1), ("layer", 2), ("layer", 3)]
    assert [reference.size for reference in manifest.references] == [1, 2, 3]
    assert (manifest.media_type, manifest.artifact_type) == (media_type, CONFIG)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_indexes(media_type: str) -> None:
    """An index names manifests, and has no artifact type unless it says so."""
    manifest = parsed(index(mediaType=media_type))
    assert named(manifest) == [("manifest", 4), ("manifest", 5)]
    assert manifest.artifact_type is None
    assert parsed(index(artifactType="a/b")).artifact_type == "a/b"


def test_artifacts() -> None:
    """The OCI's short-lived artifact manifest names blobs."""
    manifest = parsed({"mediaType": OCI_ARTIFACT, "artifactType": "a/b", "blobs": [descriptor(2, "x/y")]})
    assert named(manifest) == [("layer", 2)]
    assert manifest.artifact_type == "a/b"


@pytest.mark.parametrize("field", ["layers", "manifests"])
@pytest.mark.parametrize("value", [[], None])
def test_empty_lists(field: str, value: object) -> None:
    """No layers and no manifests are fine, null too, as Go writes it."""
    fields = image(layers=value) if field == "layers" else index(manifests=value)
    assert [kind for kind, _ in named(parsed(fields))] == (["config"] if field == "layers" else [])


def test_subject_and_annotations() -> None:
    """The subject's digest and the annotations are known; an artifact type goes before the config's."""
    subject = descriptor(9, OCI_MANIFEST)
    manifest = parsed(image(subject=subject, annotations={"a": "ä"}, artifactType="a/b"))
    assert str(manifest.subject) == subject["digest"]
    assert manifest.annotations == {"a": "ä"}
    assert manifest.artifact_type == "a/b"


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_artifact_type_is_none(value: object) -> None:
    """An artifact type that is empty or null is that of the config (end-point 12)."""
    assert parsed(image(artifactType=value)).artifact_type == CONFIG


def test_duplicates_are_named_once() -> None:
    """What is there twice is named once, and what is required once is required."""
    foreign = descriptor(2, urls=["https://elsewhere.example/layer"])
    manifest = parsed(image(layers=[foreign, descriptor(2), descriptor(3), descriptor(3)]))
    assert named(manifest) == [("config", 1), ("layer", 2), ("layer", 3)]
    assert manifest.optional == ()


@pytest.mark.parametrize(
    "entry",
    [
        descriptor(7, urls=["https://elsewhere.example/layer"]),
        descriptor(7, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        descriptor(7, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ],
)
def test_non_distributable_layers_may_be_missing(entry: dict[str, Any]) -> None:
    """A foreign layer is optional."""
    manifest = parsed(image(layers=[entry]))
    assert named(manifest) == [("config", 1)]
    assert [str(reference.digest) for reference in manifest.optional] == [digest(7)]


def test_the_cache_of_buildkit() -> None:
    """An index whose entries are layers and a config names blobs."""
    entries = [descriptor(2), descriptor(3, "application/vnd.buildkit.cacheconfig.v0")]
    assert [kind for kind, _ in named(parsed(index(manifests=entries)))] == ["layer", "layer"]


@pytest.mark.parametrize(
    "field, sent, expected",
    [
        (OCI_MANIFEST, None, OCI_MANIFEST),
        (OCI_MANIFEST, OCI_MANIFEST, OCI_MANIFEST),
        (OCI_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (OCI_MANIFEST, OCI_MANIFEST.upper(), OCI_MANIFEST),
        (DELETE, OCI_MANIFEST, OCI_MANIFEST),
        (DELETE, DOCKER_MANIFEST, DOCKER_MANIFEST),
        (DELETE, None, OCI_MANIFEST),
        (DELETE, "", OCI_MANIFEST),
        ("", OCI_MANIFEST, OCI_MANIFEST),
    ],
)
def test_media_types(field: object, sent: str | None, expected: str) -> None:
    """The type is the field's or the header's; parameters and case do not count, and an image is known by its look."""
    assert parsed(image(mediaType=field), sent).media_type == expected


def test_an_index_is_known_by_its_look() -> None:
    """An index without any media type is one."""
    assert parsed(index(mediaType=DELETE)).media_type == OCI_INDEX


@pytest.mark.parametrize(
    "fields, sent, field",
    [
        (image(), OCI_INDEX, "mediaType"),
        (image(), "application/json", "mediaType"),
        (image(mediaType=DELETE), "application/json", "mediaType"),
        (image(mediaType=DELETE), "application/octet-stream", "mediaType"),
        (image(mediaType=DELETE), "nonsense", "mediaType"),
        (image(mediaType=DELETE), "a/b\N{SNOWMAN}", "mediaType"),
        (image(mediaType=DELETE), "a/" + "b" * 300, "mediaType"),
        (image(mediaType=7), None, "mediaType"),
        ({}, None, "mediaType"),
        ({"schemaVersion": 1}, None, "mediaType"),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws", "mediaType"),
        (image(schemaVersion=DELETE), None, "schemaVersion"),
        (image(schemaVersion=1), None, "schemaVersion"),
        (image(schemaVersion="2"), None, "schemaVersion"),
        (image(schemaVersion=2.0), None, "schemaVersion"),
        (image(schemaVersion=True), None, "schemaVersion"),
        (image(config=DELETE), None, "config"),
        (image(config=None), None, "config"),
        (image(config=[]), None, "config"),
        (image(layers=DELETE), None, "layers"),
        (image(layers={}), None, "layers"),
        (image(layers=[1]), None, "layers[0]"),
        (image(layers=[descriptor(2), {}]), None, "layers[1].mediaType"),
        (image(layers=[descriptor(2, size=-1)]), None, "layers[0].size"),
        (image(layers=[descriptor(2, size=True)]), None, "layers[0].size"),
        (image(layers=[descriptor(2, size=1.5)]), None, "layers[0].size"),
        (image(layers=[descriptor(2, size=1 << 63)]), None, "layers[0].size"),
        (image(layers=[descriptor(2, digest="sha256:x")]), None, "layers[0].digest"),
        (image(layers=[descriptor(2, digest=None)]), None, "layers[0].digest"),
        (image(layers=[descriptor(2, digest="md5:" + "0" * 32)]), None, "layers[0].digest"),
        (image(layers=[descriptor(2, mediaType="")]), None, "layers[0].mediaType"),
        (image(layers=[descriptor(2, mediaType="x" * 256)]), None, "layers[0].mediaType"),
        (image(layers=[descriptor(2, mediaType="a\0b")]), None, "layers[0].mediaType"),
        (image(layers=[descriptor(2, mediaType="\ud800")]), None, "layers[0].mediaType"),
        (image(manifests=[descriptor(4, OCI_MANIFEST)]), None, "manifests"),
        (index(layers=[descriptor(2)]), None, "layers"),
        (index(config=descriptor(1)), None, "config"),
        (index(manifests=DELETE), None, "manifests"),
        (index(manifests="x"), None, "manifests"),
        (image(subject="x"), None, "subject"),
        (image(subject={"digest": digest(1)}), None, "subject.mediaType"),
        (image(annotations=[]), None, "annotations"),
        (image(annotations={"a": 1}), None, "annotations"),
        (image(annotations={"a\0": "b"}), None, "annotations"),
        (image(annotations={"a": "\udfff"}), None, "annotations"),
        (image(artifactType=7), None, "artifactType"),
        (image(artifactType="x" * 256), None, "artifactType"),
    ],
)
def test_refused(fields: Any, sent: str | None, field: str) -> None:
    """Each rule that is broken is MANIFEST_INVALID, and the detail names the field."""
    assert refused(fields, sent).detail == {"field": field}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" + b"[]," * MAX_VALUES + b"[]]",
        b"{}{}",
    ],
    ids=lambda content: f"{content[:12]!r} of {len(content)}",
)
def test_not_json(content: bytes) -> None:
    """What is no JSON object, or would cost too much to read, is refused."""
    refused(content, OCI_MANIFEST)


def test_unknown_types_are_welcome() -> None:
    """Of a type nobody knows, what looks like descriptors is read and the rest is left alone."""
    fields = {
        "config": descriptor(1, CONFIG),
        "layers": [descriptor(2), {"digest": "x"}, 7, descriptor(3, urls=["u"])],
        "manifests": {"not": "a list"},
        "subject": descriptor(9, OCI_MANIFEST),
        "artifactType": "a/b",
        "annotations": {"k": 1},
    }
    manifest = parsed(fields, "application/vnd.example.v1+json")
    assert manifest.media_type == "application/vnd.example.v1+json"
    assert named(manifest) == [("config", 1), ("layer", 2)]
    assert [str(reference.digest) for reference in manifest.optional] == [digest(3)]
    assert (str(manifest.subject), manifest.artifact_type, manifest.annotations) == (digest(9), "a/b", {})


def test_unknown_types_keep_their_case() -> None:
    """A type is served as it was pushed."""
    assert parsed({}, "application/vnd.Example+json").media_type == "application/vnd.Example+json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType")


@given(st.sampled_from(FIELDS), JSON, st.booleans(), st.sampled_from([None, OCI_MANIFEST, OCI_INDEX, "a/b"]))
def test_any_field(field: str, value: object, of_index: bool, sent: str | None) -> None:
    """Whatever one field holds, the manifest is parsed or MANIFEST_INVALID."""
    fields = {**(index() if of_index else image()), field: value}
    with suppress(ManifestInvalid):
        assert isinstance(parsed(fields, sent), Manifest)


@given(st.binary(max_size=100), st.text(max_size=20))
def test_any_bytes(content: bytes, sent: str) -> None:
    """Any bytes are parsed or MANIFEST_INVALID."""
    with suppress(ManifestInvalid):
        assert parse_manifest(content, sent).media_type
