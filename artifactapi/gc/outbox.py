"""The outbox of objects: rows are gone, bytes go next."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from artifactapi.metadata import outbox as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.garbage import Batch
from artifactapi.metadata.outbox import Doomed
from artifactapi.objects.interface import IObjectStore
from artifactapi.oci.errors import OciError, Unavailable

AT_ONCE = 2000  # two DeleteObjects at a time
ABORTS = 100  # each is some requests of its own
GIVE_UP = 3  # failures in a row
log = Logger()


async def sweep(database: Database, store: IObjectStore) -> Batch:
    """Delete a batch of what is due. Two replicas at once do no harm: an object that is gone is no error.

    What cannot be deleted is tried again later, and keeps nothing else from going. Raises Unavailable when the store
    does not answer at all.
    """
    doomed = await rows.due(database, AT_ONCE)
    committed = [one for one in doomed if not one.staged]
    stuck = await store.delete([one.key for one in committed]) if committed else frozenset()
    tried, failed = await _abort(store, [one for one in doomed if one.staged][:ABORTS])
    away = _is_away(tried, failed)
    failed += [one for one in committed if one.key in stuck]
    tried += committed
    await _settle(database, tried, failed)
    if away:
        raise Unavailable("the object store does not delete what was staged")
    return Batch(len(tried), len(tried) - len(failed))


async def _abort(store: IObjectStore, staged: Sequence[Doomed]) -> tuple[list[Doomed], list[Doomed]]:
    """Those that were tried, and those of them that failed."""
    tried: list[Doomed] = []
    failed: list[Doomed] = []
    for one in staged:
        tried.append(one)
        try:
            await store.abort(one.key, one.keep)
        except OciError as error:
            log.warn("what was staged for {key} cannot be deleted: {error}", key=one.key, error=error.message)
            failed.append(one)
        if _is_away(tried, failed):
            break
    return tried, failed


def _is_away(tried: Sequence[Doomed], failed: Sequence[Doomed]) -> bool:
    """Whether the last of them failed in a row: it is not them, it is the store."""
    return len(failed) >= GIVE_UP and failed[-GIVE_UP:] == tried[-GIVE_UP:]


async def _settle(database: Database, tried: Sequence[Doomed], failed: Sequence[Doomed]) -> None:
    if failed:
        log.warn("{count} objects cannot be deleted yet", count=len(failed))
        await rows.postpone(database, failed)
    await rows.done(database, set(tried) - set(failed))
