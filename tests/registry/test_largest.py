"""Blobs above the size that there may be, over files and over S3: the upload is over, and leaves nothing."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.defer import Deferred

from artifactapi.gc import outbox
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import BlobTooLarge, BlobUploadUnknown, UploadConflict
from artifactapi.registry.intake import INLINE
from artifactapi.registry.registry import Registry
from tests.fleet.fleet import Fleet
from tests.registry.bodies import NAME, Pieces, Slow, content_of, cut

MIB = 1024 * 1024
PARTS = Random(2).randbytes(17 * MIB)  # two whole parts on S3, and some more
LARGEST = [10, INLINE, INLINE + 1, 3 * INLINE]


def bounded(database, store, threads, largest: int) -> Registry:
    """The use cases with that bound."""
    return Registry.over(database, store, threads, largest=largest)


async def is_over(made: Registry, session) -> None:
    """Nobody can go on with it."""
    with pytest.raises(BlobUploadUnknown):
        await made.uploads.status(NAME, session.id)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("largest", LARGEST)
async def test_a_whole_blob(registry, database, store, threads, largest: int, announced: bool):
    """In one request: up to the bound it is a blob, above it nothing."""
    made, content = bounded(database, store, threads, largest), PARTS[: largest + 1]
    fits, digest = content[:-1], digest_of(content[:-1])
    await made.uploads.push(NAME, digest, Pieces(fits, length=largest if announced else None))
    assert await content_of(made, NAME, digest) == fits
    with pytest.raises(BlobTooLarge):
        await made.uploads.push(NAME, digest_of(content), Pieces(fits, b"!", length=largest + 1 if announced else None))
    assert await made.uploads.count() == 0


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("before", [0, 5, INLINE, 2 * INLINE])
async def test_the_request_that_goes_beyond(registry, database, store, threads, before, announced, last):
    """A PATCH or the final PUT that makes it too large ends the session, whatever it had."""
    made, content = bounded(database, store, threads, 3 * INLINE), PARTS[: 3 * INLINE + 1]
    session = await made.uploads.start(NAME)
    if before:
        await made.uploads.append(NAME, session.id, Pieces(content[:before]), 0)
    rest = content[before:]
    body = Pieces(rest[:-1], rest[-1:], length=len(rest) if announced else None)
    put = made.uploads.finish(NAME, session.id, digest_of(content), body, before)
    patch = made.uploads.append(NAME, session.id, body, before)
    with pytest.raises(BlobTooLarge):
        await (put if last else patch)
    (patch if last else put).close()
    await is_over(made, session)


async def test_the_bound_is_for_the_writer_that_has_the_session(registry, database, store, threads):
    """A writer from whom the session was taken does not end it."""
    made, slow = bounded(database, store, threads, INLINE), Slow()
    session = await made.uploads.start(NAME)
    first = Deferred.fromCoroutine(made.uploads.append(NAME, session.id, slow, 0))
    while not slow.waiting:
        await database.query("SELECT 1")
    await made.uploads.append(NAME, session.id, Pieces(b"12345"), 0)
    slow.send(bytes(INLINE + 1))
    with pytest.raises((BlobTooLarge, UploadConflict)):
        await first
    assert (await made.uploads.status(NAME, session.id)).offset == 5


@pytest.mark.parametrize("before", [0, 5 * MIB, 9 * MIB])
async def test_parts_on_s3(database, s3_store, threads, dsn, seaweed, location, tmp_path, before: int):
    """Parts that S3 has already are given back: no object, no multipart upload, no row stays."""
    made = bounded(database, s3_store, threads, len(PARTS) - 1)
    await made.repos.ensure(NAME.repo, "docker", "local")
    session = await made.uploads.start(NAME)
    if before:
        await made.uploads.append(NAME, session.id, cut(PARTS[:before], MIB), 0)
    with pytest.raises(BlobTooLarge):
        await made.uploads.append(NAME, session.id, cut(PARTS[before:], MIB), before)
    await is_over(made, session)
    left = Fleet(tmp_path, dsn, seaweed, location.prefix)
    left.check_balance()
    await database.query("UPDATE doomed_objects SET after = now()")
    await outbox.sweep(database, s3_store)
    left.check_clean()
