"""The schema as numbered SQL files, and how they are applied."""

from __future__ import annotations

import re
from importlib import resources

from twisted.logger import Logger

from artifactapi.metadata.database import Database, Transaction

log = Logger()
LOCK = 0x6172_7469  # "arti": the advisory lock under which one replica migrates while the others wait


def migrations() -> list[tuple[int, str]]:
    """(version, SQL text) of every numbered file, in order."""
    files = [f for f in resources.files(__name__).iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", f.name)]
    return sorted((int(f.name[:4]), f.read_text("utf-8")) for f in files)


async def migrate(database: Database) -> None:
    """Apply what is missing, exactly once however many replicas start together.

    A database that is ahead of this code (a newer replica has migrated it) is left as it is: changes only add.
    """
    await database.transaction(_migrate, unlimited=True)


async def _migrate(transaction: Transaction) -> None:
    await transaction.query("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    await transaction.query(
        "CREATE TABLE IF NOT EXISTS schema_versions (version int PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    )
    row = await transaction.one("SELECT coalesce(max(version), 0) FROM schema_versions")
    applied = row[0] if row else 0
    for version, sql in migrations():
        if version > applied:
            await transaction.query(sql.replace("%", "%%"), ())
            await transaction.query("INSERT INTO schema_versions (version) VALUES (%s)", (version,))
            log.info("schema version {version} applied", version=version)
