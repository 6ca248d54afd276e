"""A look at the database beside what is tested."""

from __future__ import annotations

from typing import Any

import psycopg2


class Onlooker:
    """A connection of psycopg2's own, to see and to do what the pool does not know of."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""
        cursor = self._connection.cursor()
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *params: Any) -> Any:
        """The one value of a statement."""
        [[value]] = self.rows(sql, *params)
        return value

    def backends(self) -> set[int]:
        """The pids of the pool's connections."""
        return {pid for (pid,) in self.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'artifactapi'"
        )}  # fmt: skip

    def waiting(self) -> int:
        """How many of them wait for a lock."""
        return self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    def kill(self, pids: set[int]) -> None:
        """End them, as an administrator or a failover would."""
        self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", list(pids))

    def close(self) -> None:
        """Done."""
        self._connection.close()
