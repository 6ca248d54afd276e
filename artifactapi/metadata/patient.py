"""Statements that outlast a restart of the database."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from artifactapi.metadata.database import Params, Queryable, Row
from artifactapi.oci.errors import Unavailable

SECONDS = 15.0
PAUSE = 0.5


class Patient:
    """Repeats a statement while the database does not answer, up to SECONDS.

    For what has come half the way already, and for statements that may be done twice: the fate of one whose answer
    was lost is unknown.
    """

    def __init__(self, database: Queryable, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._database = database
        self._reactor = reactor

    async def query(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of a statement."""
        deadline = self._reactor.seconds() + SECONDS
        while True:
            try:
                return await self._database.query(sql, params)
            except Unavailable:
                if self._reactor.seconds() >= deadline:
                    raise
            await deferLater(self._reactor, PAUSE)

    async def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        rows = await self.query(sql, params)
        return rows[0] if rows else None
