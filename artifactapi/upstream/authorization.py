"""What we show an upstream: nothing, a password, or a token."""

from __future__ import annotations

from collections.abc import Iterable

from artifactapi.upstream.challenge import Challenge, parse_challenges
from artifactapi.upstream.errors import Denied, UpstreamError
from artifactapi.upstream.origin import Origin
from artifactapi.upstream.tokens import Tokens


class Authorization:
    """The Authorization header of requests to the upstream itself. How it wants it is learnt from its first 401."""

    def __init__(self, origin: Origin, tokens: Tokens) -> None:
        self._origin = origin
        self._tokens = tokens
        self._challenge: Challenge | None = None

    async def header(self, scope: str) -> str | None:
        """What to send, as far as the upstream is known. Raises what a token server answers."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return self._origin.basic
        try:
            return f"Bearer {await self._tokens.get(self._challenge, scope)}"
        except UpstreamError:
            self._challenge = None  # perhaps it has another realm by now: ask it again next time
            raise

    async def renewed(self, scope: str, challenges: Iterable[str], refused: str | None) -> str:
        """What to send instead, after a 401 with these WWW-Authenticate headers. Raises Denied if there is nothing."""
        self._challenge = self._chosen(parse_challenges(challenges))
        if refused is not None:
            self._tokens.forget(scope, refused.removeprefix("Bearer "))
        header = await self.header(scope)
        if header is None or header == refused:
            raise Denied("the upstream wants other credentials", 401)
        return header

    def _chosen(self, challenges: list[Challenge]) -> Challenge | None:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        basic = by_scheme.get("basic") if self._origin.basic else None
        return by_scheme.get("bearer") or basic
