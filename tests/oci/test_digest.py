"""Digests: their grammar."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.digest import ALGORITHMS, Digest, digest_of
from artifactapi.oci.errors import DigestInvalid

HEX64, HEX128 = "0123456789abcdef" * 4, "fedcba9876543210" * 8


@pytest.mark.parametrize("text", [f"sha256:{HEX64}", f"sha512:{HEX128}"])
def test_well_formed(text: str) -> None:
    """A well-formed digest reads back as it was written."""
    digest = Digest.parse(text)
    assert str(digest) == text
    assert digest.algorithm == text[:6]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "<algorithm>:<hex digits>"),
        ("latest", "<algorithm>:<hex digits>"),
        (":", "is not one of: sha256, sha512"),
        (f"md5:{HEX64}", "'md5' is not one of: sha256, sha512"),
        (f"sha256+b64:{HEX64}", "is not one of"),
        (f"SHA256:{HEX64}", "is not one of"),
        (f"sha256:{HEX64[:-1]}", "64 lower-case"),
        (f"sha256:{HEX64}0", "64 lower-case"),
        (f"sha256:{HEX64.upper()}", "64 lower-case"),
        (f"sha256:{HEX64[:-1]}g", "64 lower-case"),
        (f"sha256:{HEX64}\n", "64 lower-case"),
        (f" sha256:{HEX64}", "is not one of"),
        ("sha256:" + "٣" * 64, "64 lower-case"),
        (f"sha256:{HEX128}", "64 lower-case"),
        (f"sha512:{HEX64}", "128 lower-case"),
        ("x" * 100_000 + ":", "…"),
    ],
)
def test_malformed(text: str, reason: str) -> None:
    """Anything else is DIGEST_INVALID, with the reason and a bounded echo."""
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse(text)
    assert reason in caught.value.message
    assert len(caught.value.message) < 300
    assert len(caught.value.detail["digest"]) <= 201


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is a digest or DigestInvalid."""
    with suppress(DigestInvalid):
        assert str(Digest.parse(text)) == text


@given(st.binary(), st.sampled_from(ALGORITHMS))
def test_of_content(data: bytes, algorithm: str) -> None:
    """The digest of content is hashlib's, and well-formed."""
    digest = digest_of(data, algorithm)
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert Digest.parse(str(digest)) == digest


def test_of_content_with_an_unknown_algorithm() -> None:
    """Only the two algorithms of the image-spec are computed."""
    with pytest.raises(ValueError, match="md5"):
        digest_of(b"", "md5")
