"""Trusted issuers, and the exchange of their tokens for ours."""

from __future__ import annotations

from typing import Any

from artifactapi.access.administered import Changes
from artifactapi.access.attempts import Attempts
from artifactapi.access.login import CredentialInvalid, Origin
from artifactapi.access.tickets import Ticket, Tickets
from artifactapi.metadata.database import Database


class Issuers:
    """Whom we believe who somebody is."""

    def __init__(
        self, database: Database, changes: Changes, tickets: Tickets, attempts: Attempts, reactor: Any
    ) -> None:
        self._database = database
        self._changes = changes
        self._tickets = tickets
        self._attempts = attempts
        self._reactor = reactor

    async def exchange(self, token: str, identity: str | None, origin: Origin) -> Ticket:
        """A ticket for the identity that the issuer's token is. Raises CredentialInvalid, TooManyRequests."""
        raise CredentialInvalid("no such issuer")
