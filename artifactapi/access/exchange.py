"""The exchange of an issuer's token for one of ours: CI needs no stored secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt

from artifactapi.access.attempts import Attempts
from artifactapi.access.claims import mismatches
from artifactapi.access.jwk import ALGORITHMS, Key
from artifactapi.access.jwks import Jwks
from artifactapi.access.login import CredentialInvalid, Origin
from artifactapi.access.tickets import Ticket, Tickets
from artifactapi.access.urls import is_issuer_url
from artifactapi.metadata import audit
from artifactapi.metadata import issuers as rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database
from artifactapi.metadata.issuers import Identity, Issuer
from artifactapi.oci.errors import clip

SECONDS = 3600
"""How long a token of ours is good for, whatever is left of the issuer's: a push may take longer than that has."""
LEEWAY = 30
"""Seconds by which an issuer's clock may differ."""
MOST = 16 * 1024
"""Characters of a token that is looked at."""
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself before it is believed."""

    issuer: str
    key: str


class Exchange:
    """Believes trusted issuers, each in tokens that are meant for us."""

    def __init__(self, database: Database, tickets: Tickets, attempts: Attempts, jwks: Jwks) -> None:
        self._database = database
        self._tickets = tickets
        self._attempts = attempts
        self._jwks = jwks

    async def exchange(self, token: str, identity: str | None, origin: Origin) -> Ticket:
        """A ticket for the identity that the token's holder is: that of the name, or the first by name that matches.

        Raises CredentialInvalid, TooManyRequests, Unavailable.
        """
        await self._attempts.check(None, origin.address)
        seen: dict[str, Any] = {}
        try:
            found = await self._identify(token, identity, seen)
        except CredentialInvalid as error:
            await self._attempts.failed(None, origin.address)
            detail = {"reason": error.message, **seen}
            await self._record("anonymous", "issuer's token", origin, Event("login.failed", detail=detail))
            raise
        credential = f"{found.issuer} {seen['sub']}"
        detail = {"identity": found.name, **seen}
        await self._record(f"identity:{found.name}", credential, origin, Event("login.exchange", detail=detail))
        return self._tickets.for_identity(found.id, credential, SECONDS)

    async def _record(self, actor: str, credential: str, origin: Origin, event: Event) -> None:
        await audit.record(self._database, By(actor, credential, origin.address, origin.request_id), event)

    async def _identify(self, token: str, wanted: str | None, seen: dict[str, Any]) -> Identity:
        """Whom the token stands for; what is believed of it goes into `seen`, for the audit."""
        unverified = read(token)
        issuer = await rows.by_url(self._database, unverified.issuer)
        if issuer is None:
            raise CredentialInvalid(f"no trusted issuer {clip(unverified.issuer)!r}")
        seen["issuer"] = issuer.name
        key = await self._jwks.key(issuer, unverified.key)
        if key is None:
            raise CredentialInvalid("the issuer has no key of the token's kid")
        said = verified(token, issuer, key)
        seen["sub"] = shown(said["sub"])
        return choose(await rows.identities_of(self._database, issuer.id), wanted, said, seen)


def read(token: str) -> Unverified:
    """What the token says of itself. Raises CredentialInvalid."""
    if len(token) > MOST:
        raise CredentialInvalid(f"the token has more than {MOST} characters")
    try:
        header = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise CredentialInvalid("the token is no JWT") from None
    if header.get("alg") not in ALGORITHMS:
        raise CredentialInvalid(f"the token must be signed with one of: {', '.join(sorted(ALGORITHMS))}")
    key = header.get("kid")
    if not isinstance(key, str):
        raise CredentialInvalid("the token does not say which key it is signed with (kid)")
    if not is_issuer_url(issuer):
        raise CredentialInvalid("the token does not say who issued it (iss)")
    return Unverified(str(issuer), key)


def verified(token: str, issuer: Issuer, key: Key) -> dict[str, Any]:
    """What the token claims, signed by its issuer, for us, and now. Raises CredentialInvalid."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=key.algorithms,
            audience=issuer.audience,
            issuer=issuer.url,
            leeway=LEEWAY,
            options={"require": REQUIRED},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise CredentialInvalid(reason(error, issuer)) from None
    return claims


def reason(error: Exception, issuer: Issuer) -> str:
    """What is wrong with the token, for whoever sent it."""
    match error:
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError() | jwt.InvalidKeyError():
            return "the token is not signed with the issuer's key"
        case jwt.MissingRequiredClaimError():
            return f"the token does not claim {error.claim}"
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.InvalidAudienceError():
            return f"the token is not for the audience {issuer.audience!r}"
    return "the token's claims are malformed"


def choose(identities: list[Identity], wanted: str | None, said: dict[str, Any], seen: dict[str, Any]) -> Identity:
    """The identity of the wanted name, or the first, that the claims match. Raises CredentialInvalid.

    Which claims do not match is for the audit: who is not known is not told what would make him so.
    """
    wrong: dict[str, list[str]] = {}
    for identity in identities:
        if wanted in (None, identity.name):
            wrong[identity.name] = mismatches(identity.claims, said)
            if not wrong[identity.name]:
                return identity
    seen["mismatches"] = dict(list(wrong.items())[:10])
    named = "no identity of the issuer" if wanted is None else f"no identity {clip(shown(wanted))!r} of the issuer"
    raise CredentialInvalid(f"{named} matches the token's claims")


def shown(text: str) -> str:
    """A claim as it may stand in the audit."""
    return clip("".join(letter if letter.isprintable() else "�" for letter in text), 300)
