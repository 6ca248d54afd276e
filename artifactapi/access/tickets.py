"""Docker's token flow: credentials and scopes in, a bearer token for these scopes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifactapi.access.caller import Caller
from artifactapi.access.login import CredentialInvalid, Login, Origin, Proof
from artifactapi.access.policy import Policy
from artifactapi.access.rights import Grant, Right
from artifactapi.access.secrets import hash_of, new_secret
from artifactapi.access.signer import Claims, Signer
from artifactapi.metadata import tokens
from artifactapi.metadata.database import Database
from artifactapi.metadata.principals import Subject
from artifactapi.oci.errors import NameInvalid, NameUnknown
from artifactapi.oci.names import ImageName
from artifactapi.oci.scopes import Scope

REFRESH_SECONDS = 90 * 24 * 3600
"""How long a client that logged in may come back without its password."""
EVERY_ACTION = frozenset((Right.PULL, Right.PUSH, Right.DELETE))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client gets; `seconds`: how long `token` is good for. `refresh`: what it may come back with."""

    token: str
    seconds: int
    refresh: str | None = None


class Tickets:
    """Gives out bearer tokens for what is asked, as far as who asks may do it."""

    def __init__(self, database: Database, policy: Policy, signer: Signer, login: Login, seconds: int) -> None:
        self._database = database
        self._policy = policy
        self._signer = signer
        self._login = login
        self._seconds = seconds

    async def for_header(
        self, authorization: bytes | None, scopes: Sequence[Scope], offline: bool, origin: Origin
    ) -> Ticket:
        """For whoever shows this header; None: for everybody. Raises CredentialInvalid, TooManyRequests."""
        if authorization is None:
            return self._ticket(None, self._policy.anonymous, scopes, None)
        proof = await self._login.prove(authorization, origin)
        return await self._for(proof, scopes, offline)

    async def for_password(
        self, name: str, password: str, scopes: Sequence[Scope], offline: bool, origin: Origin
    ) -> Ticket:
        """For a user. Raises CredentialInvalid, TooManyRequests."""
        return await self._for(await self._login.shown(name, password, origin), scopes, offline)

    async def for_refresh(self, secret: str, scopes: Sequence[Scope], origin: Origin) -> Ticket:
        """For a client that comes back; it goes on with what it came with. Raises CredentialInvalid."""
        ticket = await self._for(await self._login.token(secret, origin), scopes, False)
        return Ticket(ticket.token, ticket.seconds, secret)

    def for_identity(self, identity: int, credential: str, seconds: int) -> Ticket:
        """For whom an issuer says who it is: all it may, for so long. It will do as a password as well."""
        claims = Claims(Subject("identity", identity), 0, credential, None, True, 0)
        return Ticket(self._signer.sign(claims, seconds), seconds)

    async def _for(self, proof: Proof, scopes: Sequence[Scope], offline: bool) -> Ticket:
        caller = await self._login.caller(proof)
        if proof.asked is not None:
            raise CredentialInvalid("a bearer token for a scope does not give another")
        refresh = await self._refresh(proof, caller) if offline else None
        return self._ticket(proof, caller, scopes, refresh)

    async def _refresh(self, proof: Proof, caller: Caller) -> str | None:
        subject, secret = proof.subject, new_secret()
        if subject is None or subject.kind == "identity":  # its issuer says how long it is who it is
            return None
        made = await tokens.login(
            self._database, subject, proof.generation, hash_of(secret), REFRESH_SECONDS, caller.actor
        )
        if not made:
            raise CredentialInvalid("the credential is not valid any more")
        return secret

    def _ticket(self, proof: Proof | None, caller: Caller, scopes: Sequence[Scope], refresh: str | None) -> Ticket:
        access = tuple(grant for scope in scopes if (grant := self._granted(caller, scope)) is not None)
        catalog = any(scope.type == "registry" and scope.name == "catalog" for scope in scopes)
        subject, generation = (proof.subject, proof.generation) if proof else (None, None)
        claims = Claims(subject, generation, caller.credential, access, catalog, 0)
        return Ticket(self._signer.sign(claims, self._seconds), self._seconds, refresh)

    def _granted(self, caller: Caller, scope: Scope) -> Grant | None:
        """What of the scope the caller may do; None if that is nothing."""
        if scope.type != "repository":
            return None
        try:
            name = ImageName.parse(scope.name)
        except (NameInvalid, NameUnknown):
            return None
        wanted = [right for right in EVERY_ACTION if right in scope.actions or "*" in scope.actions]
        rights = frozenset(right for right in wanted if self._policy.may(caller, right, name))
        return Grant(name.repo, name.image, rights) if rights else None
