"""Addresses, read from the right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.routes import Route, parse_path


@pytest.mark.parametrize(
    "path, kind, name, reference",
    [
        ("/v2", "base", "", ""),
        ("/v2/", "base", "", ""),
        ("/v2/_catalog", "catalog", "", ""),
        ("/v2/r/a/tags/list", "tags", "r/a", ""),
        ("/v2/r/a/manifests/v1", "manifest", "r/a", "v1"),
        ("/v2/r/a/manifests/sha256:0", "manifest", "r/a", "sha256:0"),
        ("/v2/r/a/blobs/sha256:0", "blob", "r/a", "sha256:0"),
        ("/v2/r/a/blobs/uploads", "uploads", "r/a", ""),
        ("/v2/r/a/blobs/uploads/", "uploads", "r/a", ""),
        ("/v2/r/a/blobs/uploads/1-2", "upload", "r/a", "1-2"),
        ("/v2/r/a/referrers/sha256:0", "referrers", "r/a", "sha256:0"),
        ("/v2/r/blobs/manifests/tags/tags/list", "tags", "r/blobs/manifests/tags", ""),
        ("/v2/r/manifests/manifests/manifests", "manifest", "r/manifests", "manifests"),
        ("/v2/r/blobs/uploads/blobs/uploads/x", "upload", "r/blobs/uploads", "x"),
        ("/v2/r/uploads/blobs/y", "blob", "r/uploads", "y"),
        ("/v2/r/a/manifests/sha256%3A0", "manifest", "r/a", "sha256:0"),
        ("/v2/r/%61/manifests/v%31", "manifest", "r/a", "v1"),
        ("/v2/r%2Fa/manifests/v1", "manifest", "r%2Fa", "v1"),
        ("/v2/r/a/manifests/%FF", "manifest", "r/a", "\N{REPLACEMENT CHARACTER}"),
        ("/v2/r//a/manifests/v1", "manifest", "r//a", "v1"),
        ("/v2//a/tags/list", "tags", "/a", ""),
    ],
)
def test_addresses(path: str, kind: str, name: str, reference: str) -> None:
    """Each address means one thing; names and references are given as they are written there."""
    assert parse_path(path.encode()) == Route(kind, name, reference)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/",
        "/v2x",
        "/v2/x",
        "/v2/_catalog/",
        "/v2/r/a",
        "/v2/r/a/tags",
        "/v2/r/a/tags/lists",
        "/v2/r/a/tags/list/",
        "/v2/r/a/manifests/",
        "/v2/r/a/blobs/",
        "/v2/r/a/referrers/",
        "/v2/manifests/v1",
        "/v2/tags/list",
        "/v2/blobs/uploads/",
        "/v2/blobs/uploads/x",
        "/v2/r/a/uploads/x",
        "/v2/r/a/unknown/v1",
        "//v2/",
    ],
)
def test_no_addresses(path: str) -> None:
    """What is no address of the API is none."""
    assert parse_path(path.encode()) is None


@given(st.binary(max_size=200))
def test_any_path(rest: bytes) -> None:
    """Any bytes are an address or none; one with a reference has a name too."""
    route = parse_path(b"/v2/" + rest)
    if route is not None and route.kind not in ("base", "catalog"):
        assert route.name
        assert bool(route.reference) == (route.kind not in ("tags", "uploads"))
