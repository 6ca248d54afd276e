"""Rows of upload sessions."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_twisted

from artifactapi.metadata import blobs, repos, uploads
from artifactapi.metadata.blobs import Blob
from tests.metadata.conftest import eventually
from tests.metadata.stories import (
    ELSEWHERE,
    NAME,
    NOWHERE,
    OTHER,
    Held,
    digest,
    finish,
    make_repos,
    push,
    session,
    started,
    together,
)

BIG = 1_000_000


@pytest_twisted.async_yield_fixture
async def db(database):
    """A pool, with the repos."""
    await make_repos(database)
    yield database


@pytest.fixture
def doomed(onlooker):
    """The keys in the outbox."""
    return lambda: {key for (key,) in onlooker.rows("SELECT key FROM doomed_objects")}


async def test_start(db):
    """A session is found as it was started, in its own image alone."""
    made = session()
    assert await uploads.start(db, made)
    assert await uploads.find(db, NAME, made.id) == made
    for name in (OTHER, ELSEWHERE, NOWHERE):
        assert await uploads.find(db, name, made.id) is None
    assert await uploads.find(db, NAME, uuid4()) is None


async def test_start_without_a_repo(db):
    """There is no session in a repo that does not exist."""
    assert not await uploads.start(db, session(NOWHERE))
    assert await uploads.count(db) == 0


async def test_claim(db):
    """Each writer takes the next fence, if it begins where the session is or does not care."""
    made = session()
    await uploads.start(db, made)
    assert (await uploads.claim(db, NAME, made.id, None)).fence == 1
    assert (await uploads.claim(db, NAME, made.id, 0)).fence == 2
    assert await uploads.claim(db, NAME, made.id, 1) is None
    assert await uploads.claim(db, OTHER, made.id, 0) is None
    assert await uploads.claim(db, NAME, uuid4(), None) is None
    assert (await uploads.find(db, NAME, made.id)).fence == 2


async def test_claims_at_the_same_time(db):
    """Of writers that come together each has a fence of its own."""
    made = session()
    await uploads.start(db, made)
    claimed = await together(*(uploads.claim(db, NAME, made.id, 0) for _ in range(8)))
    assert sorted(c.fence for c in claimed) == list(range(1, 9))


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 3, "content": b"a\0b"},
        {"offset": BIG, "content": None, "hash_state": bytes(range(256)), "store_state": {"length": BIG, "x": ["é"]}},
        {"offset": 0, "store_state": {}},
        {"offset": 1 << 40, "content": None, "store_state": {"length": 1 << 40}},
    ],
)
async def test_advance(db, fields):
    """What a writer records is what the next one finds, byte for byte."""
    made = replace(await started(db), **fields)
    assert await uploads.advance(db, made)
    assert await uploads.find(db, NAME, made.id) == made
    claimed = await uploads.claim(db, NAME, made.id, made.offset)
    assert claimed == replace(made, fence=2)


async def test_advance_after_a_take_over(db):
    """A writer that lost the session records nothing."""
    loser = await started(db)
    winner = await uploads.claim(db, NAME, loser.id, 0)
    assert not await uploads.advance(db, replace(loser, offset=5, content=b"stale"))
    assert await uploads.find(db, NAME, loser.id) == winner


async def test_finish_inline(db, doomed):
    """A small blob is in its row, linked to its image; the session is over."""
    made = replace(await started(db), offset=5, content=b"bytes")
    assert await finish(db, made, digest("bytes")) == ""
    assert await blobs.find(db, NAME, digest("bytes")) == Blob(digest("bytes"), 5, None, b"bytes")
    assert await blobs.find(db, OTHER, digest("bytes")) is None
    assert await uploads.find(db, NAME, made.id) is None
    assert doomed() == set()


async def test_finish_in_the_store(db, doomed):
    """A large blob is under the session's key, which nobody may delete."""
    made = await started(db, size=BIG)
    assert await finish(db, made, digest("big")) == made.key
    assert await blobs.find(db, NAME, digest("big")) == Blob(digest("big"), BIG, made.key, None)
    assert doomed() == set()


async def test_finish_twice(db):
    """A session ends once."""
    made = await started(db, size=BIG)
    await finish(db, made, digest("big"))
    assert await finish(db, made, digest("big")) is None


async def test_finish_after_a_take_over(db, doomed, onlooker):
    """A writer that lost the session ends nothing: no blob, no image, no object to delete."""
    loser = await started(db, size=BIG)
    await uploads.claim(db, NAME, loser.id, BIG)
    assert await finish(db, loser, digest("big")) is None
    assert onlooker.value("SELECT count(*) FROM blobs") == onlooker.value("SELECT count(*) FROM images") == 0
    assert await uploads.count(db) == 1
    assert doomed() == set()


async def test_finish_of_a_known_digest(db, doomed, onlooker):
    """The first object of a digest stays, whichever image it came by; the later one goes to the outbox."""
    first, second = await started(db, size=BIG), await started(db, ELSEWHERE, size=BIG)
    await finish(db, first, digest("big"))
    onlooker.rows("UPDATE blobs SET idle_since = '2000-01-01'")
    assert await finish(db, second, digest("big")) == first.key
    for name in (NAME, ELSEWHERE):
        assert (await blobs.find(db, name, digest("big"))).key == first.key
    assert doomed() == {second.key}
    assert onlooker.value("SELECT now() - idle_since < '1 minute' FROM blobs"), "a promise was made just now"


async def test_finish_with_leftovers(db, doomed, onlooker):
    """What others staged beside the object goes to the outbox, with the object itself named as what must stay."""
    made = await started(db, size=BIG)
    final = f"{made.key}.2-1"
    assert await uploads.finish(db, made, digest("big"), final, True) == final
    assert doomed() == {made.key}
    assert onlooker.value("SELECT keep FROM doomed_objects WHERE store_state IS NOT NULL") == final


async def test_finish_of_a_known_digest_with_leftovers(db, doomed, onlooker):
    """Nothing of the later object stays: one row of the outbox is for all of it."""
    await push(db, "big", size=BIG)
    made = await started(db, OTHER, size=BIG)
    await uploads.finish(db, made, digest("big"), made.key, True)
    assert doomed() == {made.key}
    assert onlooker.value("SELECT keep IS NULL AND store_state IS NOT NULL FROM doomed_objects")


async def test_finish_of_a_known_inline_digest(db, doomed):
    """An object whose bytes are in a row already goes to the outbox, also one that was only begun."""
    await push(db, "bytes")
    begun = replace(await started(db, OTHER), offset=5, content=b"bytes", store_state={})
    assert await uploads.advance(db, begun)
    assert await finish(db, begun, digest("bytes")) == ""
    assert doomed() == {begun.key}


@pytest.mark.parametrize("names", [(NAME,) * 8, (NAME, OTHER) * 4, (NAME, ELSEWHERE) * 4])
async def test_finishes_at_the_same_time(db, doomed, names, onlooker):
    """Of pushes of one digest that end together one key wins, the others are doomed, and every image has the blob."""
    sessions = [await started(db, name, size=BIG) for name in names]
    keys = set(await together(*(finish(db, made, digest("big")) for made in sessions)))
    assert len(keys) == 1
    assert doomed() == {made.key for made in sessions} - keys
    assert {(await blobs.find(db, name, digest("big"))).key for name in names} == keys
    assert onlooker.value("SELECT count(*) FROM image_blobs") == len(set(names))


async def test_finishes_and_mounts_at_the_same_time(db):
    """Pushes and mounts of the same digests into the same new image get along, in whatever order they lock."""
    texts = [f"blob {n}" for n in range(4)]
    for text in texts:
        await push(db, text, ELSEWHERE)
    for turn in range(10):
        image = replace(NAME, image=f"new/{turn}")
        sessions = [replace(await started(db, image), offset=len(t), content=t.encode()) for t in texts]
        finishes = [finish(db, made, digest(t)) for made, t in zip(sessions, texts, strict=True)]
        mounts = [blobs.mount(db, image, digest(t), None) for t in reversed(texts)]
        assert await together(*(w for pair in zip(finishes, mounts, strict=True) for w in pair)) == ["", True] * 4
        assert len(await blobs.find_all(db, [(image, digest(t)) for t in texts])) == 4


@pytest.mark.parametrize("size, expected", [(None, False), (BIG, True)])
async def test_cancel(db, doomed, size, expected):
    """A cancelled session is gone; its object, if it began one, is in the outbox."""
    made = await started(db, size=size)
    for wrong in (OTHER, ELSEWHERE):
        assert await uploads.cancel(db, wrong, made.id) is None
    assert await uploads.cancel(db, NAME, made.id) == made
    assert await uploads.cancel(db, NAME, made.id) is None
    assert await uploads.find(db, NAME, made.id) is None
    assert doomed() == ({made.key} if expected else set())


async def test_cancel_and_finish_at_the_same_time(db, doomed, onlooker):
    """Either the blob is there and its object stays, or it is not and its object goes: never both, never neither."""
    for turn in range(10):
        made = await started(db, size=BIG)
        finishing = finish(db, made, digest(f"blob {turn}"))
        cancel = uploads.cancel(db, NAME, made.id)
        await together(*((finishing, cancel) if turn % 2 else (cancel, finishing)))
        kept = {key for (key,) in onlooker.rows("SELECT object_key FROM blobs")}
        assert (made.key in kept) != (made.key in doomed())


async def delete_repo(db) -> None:
    """Delete NAME's repo."""
    await repos.delete(db, await repos.lock(db, NAME.repo))


@pytest.mark.parametrize("known", [False, True])
async def test_a_repo_is_deleted_behind_a_finish(db, doomed, onlooker, known):
    """A blob that was finished while its repo is deleted keeps its object: other images may have it by then."""
    if known:
        await push(db, "first blob of the image")
    made = await started(db, size=BIG)
    finishing = Held(db, lambda transaction: finish(transaction, made, digest("big")))
    assert await finishing.worked == made.key
    deleting = Held(db, delete_repo)
    await eventually(lambda: onlooker.waiting() == 1)
    await finishing.commit()
    await deleting.commit()
    assert onlooker.rows("SELECT object_key FROM blobs WHERE size = %s", BIG) == [(made.key,)]
    assert doomed() == set()


@pytest.mark.parametrize("known", [False, True])
async def test_a_finish_behind_the_deletion_of_its_repo(db, doomed, onlooker, known):
    """A session that ended with its repo cannot be finished: its object goes, and there is no blob."""
    if known:
        await push(db, "first blob of the image")
    made = await started(db, size=BIG)
    deleting = Held(db, delete_repo)
    await deleting.worked
    [_, finished] = await together(commit_when_waiting(deleting, onlooker), finish(db, made, digest("big")))
    assert finished is None
    assert onlooker.value("SELECT count(*) FROM blobs WHERE size = %s", BIG) == 0
    assert doomed() == {made.key}


async def commit_when_waiting(held: Held, onlooker) -> None:
    """Let the transaction commit as soon as another one waits for it."""
    await eventually(lambda: onlooker.waiting() == 1)
    await held.commit()


async def test_an_object_begun_while_the_repo_is_deleted(db, doomed, onlooker):
    """A session that begins its object just before its repo goes has it in the outbox."""
    made = await started(db)
    beginning = Held(db, lambda transaction: uploads.advance(transaction, replace(made, store_state={})))
    await beginning.worked
    deleting = Held(db, delete_repo)
    await eventually(lambda: onlooker.waiting() == 1)
    await beginning.commit()
    await deleting.commit()
    assert doomed() == {made.key}


async def test_a_start_behind_the_deletion_of_its_repo(db, onlooker):
    """A session that waits for its repo finds it gone: that is no error of the database's."""
    deleting = Held(db, delete_repo)
    await deleting.worked
    assert await together(commit_when_waiting(deleting, onlooker), uploads.start(db, session())) == [None, False]


async def test_count(db):
    """All sessions are counted, of all images."""
    await started(db)
    await started(db, ELSEWHERE)
    assert await uploads.count(db) == 2


async def test_advance_never_goes_back(db):
    """A statement that is done late, behind one that was sent after it, changes nothing."""
    first = replace(await started(db), offset=5, content=None, store_state={"length": 5})
    second = replace(first, offset=6, store_state={"length": 6})
    assert await uploads.advance(db, first)
    assert await uploads.advance(db, second)
    assert not await uploads.advance(db, first)
    assert await uploads.find(db, NAME, first.id) == second
