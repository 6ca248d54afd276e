"""How often one may be wrong: counted by account and by address, in all replicas together."""

from __future__ import annotations

from ipaddress import ip_network
from math import ceil

from artifactapi.metadata import attempts as rows
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import TooManyRequests

WINDOW = 900.0
"""Seconds in which a full bucket runs empty."""
ADDRESS = 10
"""An address may fail so many times as often as an account: many may share it."""


class Attempts:
    """Buckets of failures; `most`: those of an account in a quarter of an hour, 0: without a bound."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most

    async def check(self, account: str | None, address: str) -> None:
        """Raises TooManyRequests, with Retry-After, when there were too many."""
        for key, most in self._buckets(account, address):
            wait = await rows.wait(self._database, key, most, most / WINDOW)
            if wait is not None:
                raise TooManyRequests("too many failed logins", headers={"Retry-After": str(ceil(wait))})

    async def failed(self, account: str | None, address: str) -> None:
        """One more failure."""
        for key, most in self._buckets(account, address):
            await rows.add(self._database, key, most, most / WINDOW)

    def _buckets(self, account: str | None, address: str) -> list[tuple[str, float]]:
        if not self._most:
            return []
        named = [(f"account:{account[:200]}", self._most)] if account is not None else []
        return [*named, (f"address:{block(address)}", self._most * ADDRESS)]


def block(address: str) -> str:
    """Those who count as one: an IPv4 address, or the network of 2**64 addresses that everybody has with IPv6."""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    try:
        return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
