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
    while doomed := await rows.due(database, BATCH):
        await store.delete([one.key for one in doomed if not one.staged])
        for one in doomed:
            if one.staged:
                await store.abort(one.key, one.keep)
        await rows.done(database, doomed)
        total += len(doomed)
    if total:
        log.info("{total} unnamed objects deleted", total=total)
    return total
