"""The outbox of objects: rows are gone, bytes go next."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from artifactapi.metadata import outbox as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.garbage import Batch
from artifactapi.metadata.outbox import Doomed
from artifactapi.objects.interface import IObjectStore
from artifactapi.oci.errors import OciError

AT_ONCE = 2000  # two DeleteObjects at a time
log = Logger()


async def sweep(database: Database, store: IObjectStore) -> Batch:
    """Delete a batch of what is due. Two replicas at once do no harm: an object that is gone is no error.

    What cannot be deleted is tried again later, and keeps nothing else from going. Raises Unavailable when the store
    does not answer at all.
    """
    doomed = await rows.due(database, AT_ONCE)
    committed = [one for one in doomed if not one.staged]
    stuck = await store.delete([one.key for one in committed]) if committed else frozenset()
    failed = [one for one in committed if one.key in stuck]
    for one in doomed:
        if one.staged and not await _aborted(store, one):
            failed.append(one)
    await _settle(database, doomed, failed)
    return Batch(len(doomed), len(doomed) - len(failed))


async def _aborted(store: IObjectStore, one: Doomed) -> bool:
    try:
        await store.abort(one.key, one.keep)
    except OciError as error:
        log.warn("what was staged for {key} cannot be deleted: {error}", key=one.key, error=error.message)
        return False
    return True


async def _settle(database: Database, doomed: Sequence[Doomed], failed: Sequence[Doomed]) -> None:
    if failed:
        log.warn("{count} objects cannot be deleted yet", count=len(failed))
        await rows.postpone(database, failed)
    await rows.done(database, set(doomed) - set(failed))
