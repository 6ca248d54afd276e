"""Names of images and repos, tags, references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import DigestInvalid, NameInvalid, NameUnknown, TagInvalid
from artifactapi.oci.names import ImageName, Tag, parse_reference, parse_repo_name

LONGEST = "r/" + "a" * 253


@pytest.mark.parametrize(
    "text",
    ["r/a", "docker-internal/team/app", "r/blobs/manifests/tags/uploads", "r/a.b_c__d---e/0", "0/0", LONGEST],
)
def test_names(text: str) -> None:
    """A name is a repo and an image, and reads back as it was written."""
    name = ImageName.parse(text)
    assert str(name) == text
    assert name.repo == text.split("/")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "r/",
        "/a",
        "r//a",
        "r/a/",
        "R/a",
        "r/A",
        "r/a_",
        "r/_a",
        "r/a___b",
        "r/a..b",
        "r/a._b",
        "r/-a",
        "r/a-",
        "r/a b",
        "r/ä",
        "r/a\n",
        "r/a\0",
        "r/..",
        "r/a:b",
        "r/a%2fb",
        f"{LONGEST}a",
        "r/" + "a-" * 100_000,
    ],
)
def test_malformed_names(text: str) -> None:
    """What is outside the grammar, or longer than 255 bytes, is NAME_INVALID with a bounded echo."""
    with pytest.raises(NameInvalid) as caught:
        ImageName.parse(text)
    assert len(caught.value.detail["name"]) <= 256


def test_a_repo_alone() -> None:
    """A repo without an image names nothing."""
    with pytest.raises(NameUnknown):
        ImageName.parse("docker-internal")


@pytest.mark.parametrize("text", ["a", "docker-internal", "a.b", "a" * 100])
def test_repo_names(text: str) -> None:
    """A repo's name is one component."""
    assert parse_repo_name(text) == text


@pytest.mark.parametrize("text", ["", "a/b", "A", "a_", "-", "a" * 101, "a\n", "ü"])
def test_malformed_repo_names(text: str) -> None:
    """Anything else is NAME_INVALID."""
    with pytest.raises(NameInvalid):
        parse_repo_name(text)


@pytest.mark.parametrize("text", ["v1", "_", "A.b-c_9", "a" * 128])
def test_tags(text: str) -> None:
    """A tag reads back as it was written."""
    assert str(Tag.parse(text)) == text
    assert parse_reference(text) == Tag(text)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a b", "a/b", "ä", "a\n", "a+b", "a" * 100_000])
def test_malformed_tags(text: str) -> None:
    """Anything else is TAG_INVALID with a bounded echo."""
    with pytest.raises(TagInvalid) as caught:
        parse_reference(text)
    assert len(caught.value.detail["tag"]) <= 201


def test_references_with_a_colon() -> None:
    """A reference with a colon is a digest, or DIGEST_INVALID."""
    text = "sha256:" + "0" * 64
    assert parse_reference(text) == Digest.parse(text)
    with pytest.raises(DigestInvalid):
        parse_reference("sha256:short")
    with pytest.raises(DigestInvalid):
        parse_reference("v1:2")


@given(st.text(alphabet="ab/._-", max_size=300))
def test_any_name(text: str) -> None:
    """Near misses are names that read back, or the two errors."""
    try:
        name = ImageName.parse(text)
    except (NameInvalid, NameUnknown):
        return
    assert str(name) == text
    assert len(text) <= 255
