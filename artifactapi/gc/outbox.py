"""The outbox of objects: rows are gone, bytes go next."""

from __future__ import annotations

from twisted.logger import Logger

from artifactapi.metadata import outbox as rows
from artifactapi.metadata.database import Database
from artifactapi.objects.interface import IObjectStore

BATCH = 100
log = Logger()


async def sweep(database: Database, store: IObjectStore) -> int:
    """Delete what is due; how many objects. Two replicas at once do no harm: a key that is gone is no error."""
    total = 0
    while keys := await rows.due(database, BATCH):
        await store.delete(keys)
        await rows.done(database, keys)
        total += len(keys)
    if total:
        log.info("{total} unnamed objects deleted", total=total)
    return total
