"""Bearer tokens of Docker's token flow, from whatever server the upstream names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from artifactapi.shield import Shared
from artifactapi.upstream.address import Address
from artifactapi.upstream.challenge import Challenge
from artifactapi.upstream.errors import Broken, Denied, NotThere
from artifactapi.upstream.origin import Origin, Trust
from artifactapi.upstream.wire import Wire

DEFAULT_SECONDS = 60
"""How long a token is good for whose server does not say (Docker's token flow)."""
MOST_SECONDS = 3600
MARGIN_SECONDS = 10
"""Before its end a token is not used any more, for a request takes time."""
MOST_BYTES = 64 * 1024
MOST_TOKENS = 1000
_TOKEN = re.compile(r"[\x21-\x7e]{1,16000}")
log = Logger()


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the reactor's time until which it is used."""

    text: str = field(repr=False)
    until: float


class Tokens:
    """The tokens we have, by scope; one is fetched once, however many requests want it."""

    def __init__(self, origin: Origin, trust: Trust, wire: Wire) -> None:
        self._origin = origin
        self._trust = trust
        self._wire = wire
        self._known: dict[str, Token] = {}
        self._shared: Shared[str, str] = Shared()
        self._untold = ""  # the host that was not told the credentials last

    async def get(self, challenge: Challenge, scope: str) -> str:
        """A token for the scope, as the challenge says. Raises Denied, Limited, Broken."""
        known = self._known.get(scope)
        if known is not None and known.until > self._wire.reactor.seconds():
            return known.text
        return await self._shared.run(scope, lambda: self._fetch(challenge, scope))

    def forget(self, scope: str, text: str) -> None:
        """The upstream does not take this one."""
        known = self._known.get(scope)
        if known is not None and known.text == text:
            del self._known[scope]

    async def _fetch(self, challenge: Challenge, scope: str) -> str:
        address = self._realm(challenge)
        basic = self._origin.basic
        if basic and not self._trust.may_tell(address):
            basic = None
            self._warn(address)
        headers = {"Authorization": basic} if basic else {}
        asked = address.asking(service=challenge.service, scope=scope)
        answer = await self._wire.send("token", "GET", asked, headers)
        try:
            answer.require(200)
        except NotThere:  # it is the token server that is not there
            raise Broken("status", "no token server at the realm", 404) from None
        token = self._parse(await self._wire.content(answer, MOST_BYTES))
        self._known.pop(scope, None)
        if len(self._known) >= MOST_TOKENS:
            del self._known[next(iter(self._known))]
        self._known[scope] = token
        return token.text

    def _warn(self, realm: Address) -> None:
        """Say once where an upstream has its token server: who has given it a password wonders what it is good for."""
        if realm.host != self._untold:
            self._untold = realm.host
            log.warn(
                "{upstream} has its tokens at {realm}, which is none of the repo's realms: it is not told the password",
                upstream=self._origin.address.host,
                realm=realm.host,
            )

    def _realm(self, challenge: Challenge) -> Address:
        try:
            realm = Address.parse(challenge.realm)
        except ValueError:
            raise Broken("malformed", "the realm is no address", 401) from None
        if not self._trust.may_ask(realm):
            raise Denied(f"no token is fetched from {realm.scheme}://{realm.host}", 401)
        return realm

    def _parse(self, content: bytes) -> Token:
        given = _decoded(content)
        text = given.get("token") or given.get("access_token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise Broken("malformed", "no token in the token server's answer", 200)
        return Token(text, self._wire.reactor.seconds() + _lifetime(given.get("expires_in")))


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {}


def _lifetime(seconds: object) -> float:
    """Seconds that a token is used; one that lasts a moment is used at once, or not at all."""
    whole = seconds if isinstance(seconds, int | float) and seconds > 0 else DEFAULT_SECONDS
    return max(0.0, min(whole, MOST_SECONDS) - MARGIN_SECONDS)
