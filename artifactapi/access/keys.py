"""The key pairs that sign our bearer tokens: list, rotate."""

from __future__ import annotations

from artifactapi.access.administered import Changes
from artifactapi.access.signer import new_key
from artifactapi.metadata import keys as rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.keys import KeyRow


class Keys:
    """What signs, and what is believed."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def listing(self) -> list[KeyRow]:
        """Those that are believed, newest first."""
        return await rows.listing(self._database)

    async def rotate(self, revoke: bool, by: By) -> str:
        """A new key's id; it signs as soon as all replicas know it.

        `revoke`: no other is believed any more, and what it has signed is worth nothing.
        """
        key, pem = new_key()

        async def work(transaction: Transaction) -> tuple[str, Event]:
            await rows.add(transaction, key, pem)
            if revoke:
                await rows.forget_others(transaction, key)
            return key, Event("key.rotate", detail={"key": key, "revoke": revoke})

        return await self._changes.make(by, work)
