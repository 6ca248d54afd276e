"""From what a client shows to who it is."""

from __future__ import annotations

import base64
import hmac
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, DeferredSemaphore

from artifactapi.access import passwords
from artifactapi.access.attempts import Attempts
from artifactapi.access.caller import Caller
from artifactapi.access.passwords import Passwords
from artifactapi.access.policy import Policy, is_past
from artifactapi.access.rights import Layer
from artifactapi.access.secrets import PREFIX, hash_of
from artifactapi.access.signer import Signer, TokenInvalid
from artifactapi.metadata import audit, tokens, users
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database
from artifactapi.metadata.principals import Subject
from artifactapi.oci.errors import Unauthorized, clip
from artifactapi.shield import Shared

MOST = 10_000
"""Proofs that are kept."""
FEW = 4
"""What a bearer token that is remembered was asked for: clients ask for one image, or two to mount."""
PASSWORD_SECONDS = 600.0
TOKEN_SECONDS = 60.0
"""How long a proof is not looked at again; whoever is gone, or may less, is noticed by the policy all the same."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That the credential stands for the subject (None: for nobody in particular), until then (monotonic).

    `signed`: that we say so ourselves. It is looked at again whenever something has changed: a key may be revoked.
    """

    subject: Subject | None
    credential: str
    until: float
    generation: int | None = None
    asked: Layer | None = None
    catalog: bool = True
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    address: str
    request_id: str


class CredentialInvalid(Unauthorized):
    """What was shown is worth nothing."""


class Login:
    """Verifies credentials, each once in a while: a password costs a tenth of a second.

    What is remembered is a keyed hash, with a key of this process, that says nothing about the credential.
    """

    def __init__(
        self, database: Database, policy: Policy, signer: Signer, checker: Passwords, attempts: Attempts
    ) -> None:
        self._database = database
        self._policy = policy
        self._signer = signer
        self._passwords = checker
        self._attempts = attempts
        self._key = os.urandom(32)
        self._proofs: dict[bytes, Proof] = {}
        self._callers: dict[bytes, tuple[Caller, float]] = {}
        self._proving: Shared[bytes, Proof] = Shared()
        # At most these guesses are under way when the bucket is found to be full.
        self._turns = DeferredSemaphore(passwords.AT_ONCE)
        policy.watch(self._callers.clear)

    def known(self, authorization: bytes) -> Caller | None:
        """Who showed this lately, if nothing has changed since."""
        found = self._callers.get(self._sealed(authorization))
        if found is None or found[1] <= time.monotonic() or is_past(found[0].expires_at):
            return None
        return found[0]

    async def identify(self, authorization: bytes, origin: Origin) -> Caller:
        """Who shows this header. Raises CredentialInvalid, TooManyRequests, Unavailable."""
        sealed, version = self._sealed(authorization), self._policy.version
        proof = await self.prove(authorization, origin)
        caller = await self.caller(proof)
        # With another version it may be what he was before the change.
        if version == self._policy.version and len(proof.asked or ()) <= FEW:
            if len(self._callers) >= MOST:
                self._callers.clear()
            self._callers[sealed] = caller, proof.until
        return caller

    async def prove(self, authorization: bytes, origin: Origin) -> Proof:
        """What this header proves. Raises CredentialInvalid, TooManyRequests, Unavailable."""
        sealed = self._sealed(authorization)
        proof = self._proofs.get(sealed)
        if proof is None or proof.until <= time.monotonic() or not await self._holds(proof):
            proof = await self._proving.run(sealed, lambda: self._prove(sealed, authorization, origin))
        return proof

    async def caller(self, proof: Proof) -> Caller:
        """Whom it proves, as he is now. Raises CredentialInvalid."""
        if proof.subject is None:
            nobody = self._policy.anonymous
            return replace(nobody, asked=proof.asked, asked_catalog=proof.catalog)
        caller = await self._policy.caller(
            proof.subject, proof.credential, proof.generation, proof.asked, proof.catalog
        )
        if caller is None:
            raise CredentialInvalid("the credential is not valid any more")
        return caller

    async def _holds(self, proof: Proof) -> bool:
        # Not after a user was disabled, say: the same password may be right again since he is not.
        return proof.subject is None or await self._policy.holds(proof.subject, proof.generation)

    def _sealed(self, authorization: bytes) -> bytes:
        return hmac.digest(self._key, authorization, "sha256")

    async def _prove(self, sealed: bytes, authorization: bytes, origin: Origin) -> Proof:
        scheme, _, value = authorization.decode("utf-8", "replace").partition(" ")
        if scheme.lower() == "bearer":
            proof = await self._bearer(value.strip(), origin)
        elif scheme.lower() == "basic":
            proof = await self._basic(value.strip(), origin)
        else:
            raise CredentialInvalid("credentials are Basic or Bearer")
        if proof.signed:  # anybody can have any number of these, and none may cost others their proofs
            return proof
        if len(self._proofs) >= MOST:
            self._proofs.clear()
        self._proofs[sealed] = proof
        return proof

    async def _bearer(self, token: str, origin: Origin) -> Proof:
        return await self.token(token, origin) if token.startswith(PREFIX) else self.signed(token)

    async def _basic(self, value: str, origin: Origin) -> Proof:
        return await self.shown(*parse_basic(value), origin)

    async def shown(self, name: str, password: str, origin: Origin) -> Proof:
        """A name with a password, or with a token in its place. Raises CredentialInvalid, TooManyRequests."""
        if password.startswith(PREFIX):
            return await self.token(password, origin)
        if password.count(".") == 2:  # a password may look like that as well
            with suppress(CredentialInvalid):
                return self.signed(password)
        known_as = name.replace("\0", "�")  # no user's, and Postgres can be asked for it
        return await self._turns.run(lambda: Deferred.fromCoroutine(self._password(known_as, password, origin)))

    async def _password(self, name: str, password: str, origin: Origin) -> Proof:
        await self._attempts.check(name, origin.address)
        known = await users.password_of(self._database, name)
        right = await self._passwords.verify(known.hash if known else None, password)
        if known is None or not right:
            await self._failed(name, origin)
            raise CredentialInvalid("wrong user name or password")
        if self._passwords.is_old(known.hash):
            await users.rehash(self._database, known.user, known.hash, await self._passwords.hash(password))
        until = time.monotonic() + PASSWORD_SECONDS
        return Proof(Subject("user", known.user), "password", until, known.generation)

    async def token(self, secret: str, origin: Origin) -> Proof:
        """A machine's, a user's, or that of a client that comes back. Raises CredentialInvalid, TooManyRequests."""
        subject = await tokens.find(self._database, hash_of(secret))
        if subject is None:
            await self._attempts.check(None, origin.address)
            await self._failed(None, origin)
            raise CredentialInvalid("the token is not valid, or not any more")
        return Proof(subject, "token", time.monotonic() + TOKEN_SECONDS)

    def signed(self, token: str) -> Proof:
        """What we signed ourselves. Raises CredentialInvalid."""
        try:
            claims = self._signer.verify(token)
        except TokenInvalid:
            raise CredentialInvalid("the token is not valid, or not any more") from None
        until = time.monotonic() + claims.expires - time.time()
        return Proof(claims.subject, claims.credential, until, claims.generation, claims.access, claims.catalog, True)

    async def _failed(self, name: str | None, origin: Origin) -> None:
        await self._attempts.failed(name, origin.address)
        actor = f"user:{clip(name)}" if name is not None else "anonymous"
        by = By(actor, "password" if name is not None else "token", origin.address, origin.request_id)
        await audit.record(self._database, by, Event("login.failed"))


def parse_basic(value: str) -> tuple[str, str]:
    """Name and password. Raises CredentialInvalid."""
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except ValueError:
        raise CredentialInvalid("malformed Basic credentials") from None
    if not colon:
        raise CredentialInvalid("malformed Basic credentials")
    return name, password
