"""Bearer tokens as an attacker, or an older or broken replica, would make them."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

import jwt
import psycopg2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def signing_key(dsn: str) -> tuple[str, str]:
    """Id and PEM of the registry's key pair."""
    connection = psycopg2.connect(dsn)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT id, private_key FROM signing_keys ORDER BY created_at")
        key, pem = cursor.fetchone()
        return key, pem
    finally:
        connection.close()


def own_key() -> str:
    """PEM of a key pair that the registry does not know."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_of(pem: str, encoding: Encoding) -> bytes:
    """The public key of a key pair, as anybody may know it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    form = PublicFormat.SubjectPublicKeyInfo if encoding is not Encoding.Raw else PublicFormat.Raw
    return load_pem_private_key(pem.encode(), None).public_key().public_bytes(encoding, form)


def claims(subject: str, **changed: Any) -> dict[str, Any]:
    """What our own token says for all that the subject may; None takes a claim out."""
    now = int(time.time())
    said = {
        "iss": "artifactapi",
        "aud": "artifactapi",
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": uuid.uuid4().hex,
        "gen": 0,
        "crd": "password",
        **changed,
    }
    return {key: value for key, value in said.items() if value is not None}


def signed(said: dict[str, Any], key: str, pem: str, **header: Any) -> str:
    """A token signed with that key pair."""
    return jwt.encode(said, pem, "EdDSA", {"kid": key, **header})


def encoded(value: bytes | dict[str, Any]) -> str:
    """A part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(header: bytes | dict[str, Any], said: bytes | dict[str, Any], signature: bytes = b"") -> str:
    """A token of these parts, whatever they are."""
    return f"{encoded(header)}.{encoded(said)}.{encoded(signature)}"
