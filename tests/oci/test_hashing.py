"""Hashing that stops and goes on."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci import hashing
from artifactapi.oci.digest import ALGORITHMS
from artifactapi.oci.hashing import RESUMABLE, Hasher

PIECES = st.lists(st.binary(max_size=300), max_size=12)


def test_resumable_here() -> None:
    """Where the tests run, states can be exported: all else here depends on it."""
    assert RESUMABLE


@given(PIECES, st.sampled_from(ALGORITHMS))
def test_resumed_after_every_piece(pieces: list[bytes], algorithm: str) -> None:
    """A hash that is exported and restored after every piece comes to hashlib's digest."""
    hasher = Hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
        hasher = Hasher.restore(algorithm, hasher.export())
    assert hasher.digest().hex == hashlib.new(algorithm, b"".join(pieces)).hexdigest()
    assert hasher.length == sum(map(len, pieces))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(b)[::2]])
def test_kinds_of_bytes(kind) -> None:
    """Bytes, bytearrays and memoryviews are hashed alike, strided ones too."""
    data = kind(bytes(range(256)) * 9)
    hasher = Hasher("sha256")
    hasher.update(data)
    assert hasher.digest().hex == hashlib.sha256(bytes(data)).hexdigest()
    assert hasher.length == len(bytes(data))


def test_digest_on_the_way() -> None:
    """Asking for the digest does not end the hash."""
    hasher = Hasher("sha512")
    hasher.update(b"a")
    assert hasher.digest().hex == hashlib.sha512(b"a").hexdigest()
    hasher.update(b"b")
    assert hasher.digest().hex == hashlib.sha512(b"ab").hexdigest()


def test_beyond_32_bits_of_length() -> None:
    """The counter's upper half is kept: a state of more than 512 MiB goes on right."""
    state = Hasher("sha256").export()
    length = (1 << 32) + 64
    forged = state[:2] + length.to_bytes(8, "big") + state[10:]
    hasher = Hasher.restore("sha256", forged)
    assert (hasher._engine._context.high, hasher._engine._context.low) == ((length * 8) >> 32, (length * 8) % (1 << 32))
    assert hasher.export() == forged


def exported(algorithm: str = "sha256", data: bytes = b"x" * 100) -> bytes:
    hasher = Hasher(algorithm)
    hasher.update(data)
    return hasher.export()


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x01",
        exported()[:-1],
        exported() + b"x",
        b"\x02" + exported()[1:],
        exported("sha512"),
        exported()[:2] + b"\xff" * 8 + exported()[10:],
        pickle.dumps({"length": 3}),
    ],
)
def test_foreign_states(state: bytes) -> None:
    """A state that is cut, longer, of another version or algorithm, impossibly long, or a pickle is refused."""
    with pytest.raises(ValueError, match="hash state"):
        Hasher.restore("sha256", state)


@given(st.binary(max_size=300))
def test_any_state(state: bytes) -> None:
    """Any bytes are a state or a ValueError; those that are one export as themselves."""
    try:
        hasher = Hasher.restore("sha256", state)
    except ValueError:
        return
    assert hasher.export() == state


def test_unknown_algorithm() -> None:
    """Only the algorithms of digests are hashed."""
    with pytest.raises(ValueError, match="md5"):
        Hasher("md5")


def test_without_libcrypto(monkeypatch) -> None:
    """Without a libcrypto that passes the self-test, hashlib does it and there are no states."""
    monkeypatch.setattr(hashing, "_libraries", lambda: iter(["/nonexistent.so", "libc.so.6"]))
    monkeypatch.setattr(hashing, "_functions", hashing._load())
    assert hashing._functions is None
    hasher = Hasher("sha256")
    hasher.update(b"abc")
    assert hasher.digest().hex == hashlib.sha256(b"abc").hexdigest()
    assert hasher.export() == b""
    with pytest.raises(ValueError, match="libcrypto"):
        Hasher.restore("sha256", exported())


def test_every_candidate_library_agrees_or_is_refused(monkeypatch) -> None:
    """Each libcrypto that can be found passes the self-test by itself."""
    for path in hashing._libraries():
        monkeypatch.setattr(hashing, "_libraries", lambda path=path: iter([path]))
        assert hashing._load() is not None
