"""Where an issuer's keys are, and what they are (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from typing import NoReturn

from twisted.internet.defer import Deferred

from artifactapi.access.fetch import FetchFailed, fetch_json
from artifactapi.access.jwk import Key, parse_keys
from artifactapi.access.urls import is_keys_url
from artifactapi.metadata.issuers import Issuer
from artifactapi.oci.errors import clip
from artifactapi.upstream.connections import Connections

SECONDS = 10.0
"""For all of it."""


class Discovery:
    """Reads the keys of issuers from where these publish them."""

    def __init__(self, connections: Connections, seconds: float = SECONDS) -> None:
        self._connections = connections
        self._seconds = seconds

    async def read(self, issuer: Issuer) -> dict[str, Key]:
        """The keys of the issuer by their ids. Raises FetchFailed."""
        work = Deferred.fromCoroutine(self._read(issuer))
        work.addTimeout(self._seconds, self._connections.reactor, late)
        try:
            return await work
        except FetchFailed:
            raise
        except Exception as error:  # a connection, its TLS and its HTTP fail in too many ways to name
            raise FetchFailed(clip(f"{type(error).__name__}: {error}", 300)) from None

    async def _read(self, issuer: Issuer) -> dict[str, Key]:
        url = issuer.jwks_url or await self._find(issuer.url)
        try:
            return parse_keys(await fetch_json(self._connections, url, self._seconds))
        except ValueError as error:
            raise FetchFailed(f"{url}: {error}") from None

    async def _find(self, issuer: str) -> str:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = await fetch_json(self._connections, url, self._seconds)
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise FetchFailed(f"{url} is the configuration of another issuer")
        keys = found.get("jwks_uri")
        if not is_keys_url(keys, issuer):
            raise FetchFailed(f"{url} has no jwks_uri that may be used")
        return str(keys)


def late(_: object, seconds: float) -> NoReturn:
    """It took too long."""
    raise FetchFailed(f"no answer within {seconds:g} s")
