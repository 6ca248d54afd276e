"""Rows of blobs: which image has which."""

from __future__ import annotations

import pytest
import pytest_twisted

from artifactapi.metadata import blobs, manifests, repos
from artifactapi.metadata.blobs import Blob
from tests.metadata.conftest import eventually
from tests.metadata.stories import ELSEWHERE, NAME, NOWHERE, OTHER, Held, digest, make_repos, push, together


@pytest_twisted.async_yield_fixture
async def db(database):
    """A pool, with the repos, and a blob `x` in NAME."""
    await make_repos(database)
    await push(database, "x")
    yield database


X = Blob(digest("x"), 1, None, b"x")


async def test_find(db):
    """A blob is found in the image that has it, and in no other; one of zero bytes too."""
    await push(db, "")
    assert await blobs.find(db, NAME, digest("x")) == X
    assert await blobs.find(db, NAME, digest("")) == Blob(digest(""), 0, None, b"")
    for name in (OTHER, ELSEWHERE, NOWHERE):
        assert await blobs.find(db, name, digest("x")) is None
    assert await blobs.find(db, NAME, digest("y")) is None


async def test_find_all(db):
    """Many are found at once, each by its own image and digest, those in the store by their key."""
    await push(db, "x", ELSEWHERE)
    await push(db, "big", ELSEWHERE, size=1_000_000)
    wanted = [(name, digest(text)) for name in (NAME, OTHER, ELSEWHERE, NOWHERE) for text in ("x", "y", "big")]
    found = await blobs.find_all(db, wanted)
    assert set(found) == {(NAME, X.digest), (ELSEWHERE, X.digest), (ELSEWHERE, digest("big"))}
    assert found[NAME, X.digest] == found[ELSEWHERE, X.digest] == X
    assert found[ELSEWHERE, digest("big")].key.startswith("blobs/")
    assert found[ELSEWHERE, digest("big")].content is None


@pytest.mark.parametrize(
    "name, text, source, mounted",
    [
        (OTHER, "x", NAME, True),
        (ELSEWHERE, "x", NAME, True),
        (ELSEWHERE, "x", None, True),
        (NAME, "x", NAME, True),
        (OTHER, "y", NAME, False),
        (OTHER, "y", None, False),
        (OTHER, "x", ELSEWHERE, False),
        (OTHER, "x", NOWHERE, False),
        (NOWHERE, "x", NAME, False),
        (NOWHERE, "x", None, False),
    ],
)
async def test_mount(db, onlooker, name, text, source, mounted):
    """A blob is mounted from an image that has it, or from any, into a repo that exists; else nothing happens."""
    images = onlooker.rows("SELECT name FROM images")
    assert await blobs.mount(db, name, digest(text), source) is mounted
    assert (await blobs.find(db, name, digest(text)) is not None) is mounted
    assert mounted or onlooker.rows("SELECT name FROM images") == images


async def test_mount_is_a_promise(db, onlooker):
    """A mount marks the blob as promised now; one that fails does not."""
    onlooker.rows("UPDATE blobs SET idle_since = '2000-01-01'")
    recent = "SELECT idle_since > now() - interval '1 minute' FROM blobs"
    await blobs.mount(db, OTHER, digest("x"), ELSEWHERE)
    await blobs.mount(db, NOWHERE, digest("x"), None)
    assert onlooker.value(recent) is False
    await blobs.mount(db, OTHER, digest("x"), NAME)
    assert onlooker.value(recent) is True


async def test_mounts_at_the_same_time(db, onlooker):
    """A blob that is mounted again and again is linked once."""
    assert all(await together(*(blobs.mount(db, OTHER, digest("x"), None) for _ in range(8))))
    assert onlooker.value("SELECT count(*) FROM image_blobs") == 2


async def test_unlink(db, onlooker):
    """A blob goes from one image; its bytes stay, and so does any other image's link."""
    await blobs.mount(db, OTHER, digest("x"), NAME)
    assert await blobs.unlink(db, NAME, digest("x"))
    assert not await blobs.unlink(db, NAME, digest("x"))
    assert await blobs.find(db, NAME, digest("x")) is None
    assert await blobs.find(db, OTHER, digest("x")) == X
    assert await blobs.unlink(db, OTHER, digest("x"))
    assert onlooker.value("SELECT count(*) FROM blobs") == 1


async def test_unlinked_everywhere_cannot_be_mounted(db):
    """What no image has any more cannot be mounted, though its bytes may still be there."""
    await blobs.unlink(db, NAME, digest("x"))
    for source in (None, NAME):
        assert not await blobs.mount(db, OTHER, digest("x"), source)


async def test_mounts_and_unlinks_at_the_same_time(db):
    """A mount that meets the deletion of its source either has the blob or says that it has not."""
    for turn in range(20):
        image = type(NAME)(NAME.repo, f"mounted/{turn}")
        await push(db, "x")
        unlinked, mounted = await together(
            blobs.unlink(db, NAME, digest("x")), blobs.mount(db, image, digest("x"), NAME)
        )
        assert unlinked
        assert (await blobs.find(db, image, digest("x")) == X) is mounted


async def test_mount_behind_the_deletion_of_its_repo(db, onlooker):
    """A mount into a repo that is being deleted finds it gone."""

    async def delete(transaction):
        await repos.delete(transaction, await repos.lock(transaction, ELSEWHERE.repo))

    deleting = Held(db, delete)
    await deleting.worked

    async def commit():
        await eventually(lambda: onlooker.waiting() == 1)
        await deleting.commit()

    assert await together(commit(), blobs.mount(db, ELSEWHERE, digest("x"), NAME)) == [None, False]


async def test_lock_linked(db):
    """Of the digests a manifest names those are present that its image has."""
    await push(db, "y", ELSEWHERE)
    image = await manifests.image_id(db, NAME)
    wanted = [str(digest(text)) for text in ("x", "y", "z")]
    assert await blobs.lock_linked(db, image, wanted) == {str(digest("x"))}


async def test_a_locked_link_stays(db, onlooker):
    """The deletion of a blob waits for the manifest that is being put over it."""
    image = await manifests.image_id(db, NAME)
    putting = Held(db, lambda transaction: blobs.lock_linked(transaction, image, [str(digest("x"))]))
    await putting.worked

    async def commit():
        await eventually(lambda: onlooker.waiting() == 1)
        assert await blobs.find(db, NAME, digest("x")) == X
        await putting.commit()

    assert await together(commit(), blobs.unlink(db, NAME, digest("x"))) == [None, True]
    assert await blobs.find(db, NAME, digest("x")) is None
