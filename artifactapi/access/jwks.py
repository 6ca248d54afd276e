"""The keys of issuers, kept for a while; whoever sends what he likes cannot make us ask for them more often."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from twisted.logger import Logger

from artifactapi.access.fetch import FetchFailed
from artifactapi.access.jwk import Key
from artifactapi.metadata.issuers import Issuer
from artifactapi.oci.errors import Unavailable
from artifactapi.shield import Shared

FRESH = 600.0
"""Seconds in which a key that is known is believed without asking again."""
PAUSE = 60.0
"""Seconds between two questions to an issuer, whatever happens."""
STALE = 86_400.0
"""Seconds for which the keys of an issuer that does not answer are believed."""
log = Logger()


@dataclass(slots=True)
class Kept:
    """What an issuer last said, when it did, and when it was last asked."""

    keys: dict[str, Key] = field(default_factory=dict)
    read_at: float = -inf
    asked_at: float = -inf


class Jwks:
    """Answers from memory as far as it can."""

    def __init__(
        self, read: Callable[[Issuer], Awaitable[dict[str, Key]]], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` asks the issuer, and raises FetchFailed; `seconds` is the time."""
        self._read = read
        self._seconds = seconds
        self._kept: dict[int, Kept] = {}
        self._asking: Shared[int, None] = Shared()

    async def key(self, issuer: Issuer, kid: str) -> Key | None:
        """The issuer's key of that id; None if it has none. Raises Unavailable if it does not say."""
        kept = self._kept.setdefault(issuer.id, Kept())
        if kid not in kept.keys or self._age(kept.read_at) >= FRESH:
            await self._asking.run(issuer.id, lambda: self._ask(issuer, kept))
        silent = kept.asked_at > kept.read_at
        if silent and (kid not in kept.keys or self._age(kept.read_at) >= STALE):
            raise Unavailable("the issuer's keys cannot be read now", headers={"Retry-After": f"{PAUSE:.0f}"})
        return kept.keys.get(kid)

    async def _ask(self, issuer: Issuer, kept: Kept) -> None:
        if self._age(kept.asked_at) < PAUSE:
            return
        kept.asked_at = self._seconds()
        try:
            kept.keys = await self._read(issuer)
        except FetchFailed as error:
            log.warn("the keys of issuer {issuer} cannot be read: {error}", issuer=issuer.name, error=str(error))
        else:
            kept.read_at = self._seconds()

    def _age(self, moment: float) -> float:
        return self._seconds() - moment
