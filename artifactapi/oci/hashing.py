"""Hashing that can stop on one replica and go on on another.

hashlib cannot say where it is, so the hashing is done by the libcrypto that Python has loaded anyway: at hashlib's
speed, and without the GIL. What is kept between requests is neutral: the standard's own values (FIPS 180-4: length,
chaining words, unprocessed tail), not a library's memory, and nothing that could run.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import importlib.util
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artifactapi.oci.digest import ALGORITHMS, Digest

Data = bytes | bytearray | memoryview

_VERSION = 1
_LONGEST = 1 << 60
"""Bytes a state may have seen: SHA-256 counts at most 2**64 bits."""


class _Sha256(ctypes.Structure):
    """libcrypto's SHA256_CTX, the same since OpenSSL 0.9.8."""

    _fields_ = (
        ("words", ctypes.c_uint32 * 8), ("low", ctypes.c_uint32), ("high", ctypes.c_uint32),
        ("block", ctypes.c_ubyte * 64), ("pending", ctypes.c_uint), ("digest_length", ctypes.c_uint),
    )  # fmt: skip


class _Sha512(ctypes.Structure):
    """libcrypto's SHA512_CTX."""

    _fields_ = (
        ("words", ctypes.c_uint64 * 8), ("low", ctypes.c_uint64), ("high", ctypes.c_uint64),
        ("block", ctypes.c_ubyte * 128), ("pending", ctypes.c_uint), ("digest_length", ctypes.c_uint),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layout:
    """An algorithm's sizes, and how its state is written down: version, digest size, length, chaining words."""

    context: type[Any]
    block: int
    digest: int
    half: int
    """Bits in each half of the bit counter."""
    state: struct.Struct


_LAYOUTS = {
    "sha256": _Layout(_Sha256, 64, 32, 32, struct.Struct(">BBQ8I")),
    "sha512": _Layout(_Sha512, 128, 64, 64, struct.Struct(">BBQ8Q")),
}


class _Engine(Protocol):
    """One hash under way."""

    def update(self, data: Data) -> None: ...

    def hexdigest(self) -> str: ...


class _Functions:
    """Init, Update and Final of one algorithm. Raises AttributeError where the library lacks them."""

    def __init__(self, library: ctypes.CDLL, algorithm: str) -> None:
        name = algorithm.upper()
        self.init = _declare(library, f"{name}_Init", ctypes.c_void_p)
        self.update = _declare(library, f"{name}_Update", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self.final = _declare(library, f"{name}_Final", ctypes.c_void_p, ctypes.c_void_p)


def _declare(library: ctypes.CDLL, name: str, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, ctypes.c_int
    return function


class _Native:
    """A hash in libcrypto's memory, whose state can be read and set."""

    def __init__(self, functions: _Functions, layout: _Layout) -> None:
        self._functions = functions
        self._layout = layout
        self._context = layout.context()
        functions.init(ctypes.byref(self._context))

    def update(self, data: Data) -> None:
        size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        self._functions.update(ctypes.byref(self._context), _address(data), size)

    def hexdigest(self) -> str:
        context = self._layout.context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(self._layout.digest)
        self._functions.final(digest, ctypes.byref(context))
        return digest.raw.hex()

    def export(self, length: int) -> bytes:
        """The state after `length` bytes."""
        context, layout = self._context, self._layout
        head = layout.state.pack(_VERSION, layout.digest, length, *context.words)
        return head + bytes(context.block[: context.pending])

    def resume(self, state: bytes) -> int:
        """Take the place of the hash that was exported; returns its length. Raises ValueError."""
        length, words, tail = _read(self._layout, state)
        context, half = self._context, self._layout.half
        processed = (length - len(tail)) * 8
        context.words[:] = words
        context.low, context.high = processed & ((1 << half) - 1), processed >> half
        self.update(tail)
        return length


def _address(data: Data) -> Any:
    """What ctypes passes as a pointer to the bytes, without a copy where Python lets it."""
    if isinstance(data, bytes):
        return data
    view = memoryview(data)
    if view.readonly or not view.c_contiguous:
        return view.tobytes()
    return (ctypes.c_char * view.nbytes).from_buffer(view)


def _read(layout: _Layout, state: bytes) -> tuple[int, tuple[int, ...], bytes]:
    """(length, chaining words, tail) of an exported state. Raises ValueError."""
    size = layout.state.size
    if len(state) < size:
        raise ValueError("hash state: too short")
    version, digest, length, *words = layout.state.unpack_from(state)
    if version != _VERSION or digest != layout.digest:
        raise ValueError("hash state: another version or algorithm")
    if length >= _LONGEST or len(state) - size != length % layout.block:
        raise ValueError("hash state: length and tail differ")
    return length, tuple(words), state[size:]


class Hasher:
    """A digest over bytes that come in pieces. Not thread-safe: one thread at a time may use it.

    `length` counts the bytes so far. Raises ValueError for an algorithm that is not one of ALGORITHMS.
    """

    __slots__ = ("_engine", "algorithm", "length")

    def __init__(self, algorithm: str) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"no digest algorithm: {algorithm[:100]!r}")
        self.algorithm = algorithm
        self.length = 0
        self._engine: _Engine = _engine(algorithm)

    def update(self, data: Data) -> None:
        """Hash these bytes after those before. Releases the GIL; nothing is copied except read-only memoryviews."""
        self._engine.update(data)
        self.length += len(data) if isinstance(data, bytes) else memoryview(data).nbytes

    def digest(self) -> Digest:
        """The digest of the bytes so far; more may follow."""
        return Digest(self.algorithm, self._engine.hexdigest())

    def export(self) -> bytes:
        """The state to be kept, under 240 bytes; empty if this process cannot tell (RESUMABLE is False)."""
        return self._engine.export(self.length) if isinstance(self._engine, _Native) else b""

    @classmethod
    def restore(cls, algorithm: str, state: bytes) -> Hasher:
        """The hasher whose `export` gave this state. Raises ValueError if it is none, or cannot be taken up here."""
        hasher = cls(algorithm)
        if isinstance(hasher._engine, _Native):
            hasher.length = hasher._engine.resume(state)
            return hasher
        raise ValueError("hash state: no libcrypto to go on with")


def _engine(algorithm: str) -> _Engine:
    if _functions is None:
        return hashlib.new(algorithm)
    return _Native(_functions[algorithm], _LAYOUTS[algorithm])


def _libraries() -> Iterator[str | None]:
    """Where a libcrypto may be, the likeliest first: each is looked for only when those before would not do."""
    try:
        import _hashlib
    except ImportError:
        pass
    else:  # linked with libcrypto, whose functions are found through it; built in, the process itself has them
        yield getattr(_hashlib, "__file__", None)
    driver = importlib.util.find_spec("psycopg2")
    if driver is not None and driver.origin is not None:
        bundled = Path(driver.origin).parent.parent / "psycopg2_binary.libs"
        yield from map(str, sorted(bundled.glob("libcrypto*")))
    found = ctypes.util.find_library("crypto")
    if found is not None:
        yield found


def _load() -> dict[str, _Functions] | None:
    """The functions of the first libcrypto that passes the self-test."""
    for path in _libraries():
        try:
            library = ctypes.CDLL(path)
            functions = {algorithm: _Functions(library, algorithm) for algorithm in ALGORITHMS}
        except (OSError, AttributeError):
            continue
        if all(_agrees(functions[algorithm], algorithm) for algorithm in ALGORITHMS):
            return functions
    return None


def _agrees(functions: _Functions, algorithm: str) -> bool:
    """Whether a hash that is exported and resumed half-way comes to what hashlib says: the layouts are then right."""
    layout, data = _LAYOUTS[algorithm], bytes(range(256)) * 3
    expected = hashlib.new(algorithm, data).hexdigest()
    return all(_interrupted(functions, layout, data, cut) == expected for cut in (0, 1, layout.block, 333))


def _interrupted(functions: _Functions, layout: _Layout, data: bytes, cut: int) -> str:
    first, second = _Native(functions, layout), _Native(functions, layout)
    first.update(data[:cut])
    try:
        second.resume(first.export(cut))
    except ValueError:
        return ""
    second.update(data[cut:])
    return second.hexdigest()


_functions = _load()

RESUMABLE = _functions is not None
"""Whether states can be exported and restored here; without, the bytes in the store have to be read again."""
