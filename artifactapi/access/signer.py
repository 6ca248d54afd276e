"""Our own bearer tokens: JWTs signed with Ed25519, with a key pair that all replicas share."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from artifactapi.access.rights import Grant, Right
from artifactapi.metadata import keys as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.keys import KeyRow
from artifactapi.metadata.principals import KINDS, Subject

ISSUER = AUDIENCE = "artifactapi"
ALGORITHM = "EdDSA"
ANONYMOUS = "anonymous"
SETTLING = 10.0
"""Seconds in which the other replicas hear of a new key, before any signs with it."""
LEEWAY = 30
"""Seconds by which the clocks of replicas may differ."""
MOST = 32 * 1024
"""Characters of a token that is looked at."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token of ours says: whose it is (None: nobody's); for what it was asked (None: for all its subject may);
    until when."""

    subject: Subject | None
    generation: int | None
    credential: str
    access: tuple[Grant, ...] | None
    catalog: bool
    expires: float


class TokenInvalid(Exception):
    """Not signed by us, not for this, or not at this time."""


class Signer:
    """Signs with the newest key, and believes all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: list[KeyRow] = []
        self._read_at = 0.0
        self._private: dict[str, Ed25519PrivateKey] = {}
        self._public: dict[str, Ed25519PublicKey] = {}

    async def start(self) -> None:
        """Make the first key if there is none, and read them all. Raises Unavailable."""
        key, pem = new_key()
        await self._database.transaction(lambda transaction: rows.add_first(transaction, key, pem))
        await self.refresh()

    async def refresh(self) -> None:
        """Read the keys again. Raises Unavailable."""
        self._keys = await rows.listing(self._database)
        self._read_at = time.monotonic()
        self._private = {row.id: load(row.private_key) for row in self._keys}
        self._public = {key: private.public_key() for key, private in self._private.items()}

    def sign(self, claims: Claims, seconds: int) -> str:
        """A token that is good for so long."""
        now = int(time.time())
        subject = claims.subject
        said: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"{subject.kind}:{subject.id}" if subject else ANONYMOUS,
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": uuid.uuid4().hex,
            "gen": claims.generation,
            "crd": claims.credential,
        }
        if subject and subject.token is not None:
            said["tok"] = subject.token
        if claims.access is not None:
            said["access"] = [access_json(grant) for grant in claims.access]
            if claims.catalog:
                said["access"].append({"type": "registry", "name": "catalog", "actions": ["*"]})
        key = self._signing()
        return jwt.encode(said, self._private[key], ALGORITHM, {"kid": key})

    def _signing(self) -> str:
        older = time.monotonic() - self._read_at
        settled = [row for row in self._keys if row.age + older >= SETTLING]
        return (settled[0] if settled else self._keys[-1]).id

    def verify(self, token: str) -> Claims:
        """What it says. Raises TokenInvalid."""
        if len(token) > MOST:
            raise TokenInvalid
        try:
            key = self._public[jwt.get_unverified_header(token).get("kid", "")]
            said = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": ["exp", "nbf", "iat", "sub", "aud", "iss"]},
            )
            return claims_of(said)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError):
            raise TokenInvalid from None


def access_json(grant: Grant) -> dict[str, Any]:
    """The entry of Docker's `access` claim."""
    return {"type": "repository", "name": f"{grant.repo}/{grant.images}", "actions": sorted(grant.rights)}


def claims_of(said: dict[str, Any]) -> Claims:
    """What a token of ours says. Raises KeyError, TypeError, ValueError."""
    entries = said.get("access")
    return Claims(
        subject_of(said),
        said["gen"],
        said["crd"],
        None if entries is None else tuple(map(grant_of, (e for e in entries if e["type"] == "repository"))),
        entries is None or any(entry["type"] == "registry" for entry in entries),
        float(said["exp"]),
    )


def subject_of(said: dict[str, Any]) -> Subject | None:
    """Whose token it is. Raises KeyError, ValueError."""
    if said["sub"] == ANONYMOUS:
        return None
    kind, _, number = said["sub"].partition(":")
    if kind not in KINDS:
        raise ValueError("an unknown kind of subject")
    return Subject(kind, int(number), said.get("tok"))


def grant_of(entry: dict[str, Any]) -> Grant:
    """The grant of an entry."""
    repo, _, image = entry["name"].partition("/")
    return Grant(repo, image, frozenset(map(Right, entry["actions"])))


def new_key() -> tuple[str, str]:
    """Id and PEM of a new key pair."""
    private = Ed25519PrivateKey.generate()
    return uuid.uuid4().hex, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load(pem: str) -> Ed25519PrivateKey:
    """The key pair. Raises ValueError, TypeError."""
    private = load_pem_private_key(pem.encode(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return private
