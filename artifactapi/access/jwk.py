"""The public keys that issuers sign with (RFC 7517)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
FAMILIES = {
    ("RSA", None): RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""What a key of that type and curve may be used with. A secret that both sides know is nothing to sign with here."""
ALGORITHMS = tuple(algorithm for family in FAMILIES.values() for algorithm in family)
RSA_BITS = range(2048, 8192 + 1)
"""A shorter key proves nothing, and a longer one takes the reactor's time."""
MOST = 100
"""Keys of one issuer."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the algorithms it is for."""

    public: Any
    algorithms: tuple[str, ...]


def parse_keys(document: Any) -> dict[str, Key]:
    """The keys of a JWK Set by their `kid`; those that are no use here are left out. Raises ValueError."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST:
        raise ValueError(f"not a JWK Set of at most {MOST} keys")
    keys = {entry["kid"]: key for entry in entries if (key := parse_key(entry)) is not None}
    if not keys:
        raise ValueError("no key in it is of use here")
    return keys


def parse_key(entry: Any) -> Key | None:
    """A key that may verify; None for any other."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or "d" in entry:
        return None
    algorithms = algorithms_of(entry)
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(entry, algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        return None
    return Key(public, algorithms)


def algorithms_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """What the key may be used with, by its type and by its own word."""
    if entry.get("use", "sig") != "sig":
        return ()
    kind, curve, own = entry.get("kty"), entry.get("crv"), entry.get("alg")
    family = next((of for key, of in FAMILIES.items() if key == (kind, None if kind == "RSA" else curve)), ())
    return tuple(algorithm for algorithm in family if own in (None, algorithm))
