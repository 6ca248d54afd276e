"""Upload sessions: the way of a blob into an image."""

from __future__ import annotations

import os
from dataclasses import replace
from glob import glob
from uuid import uuid4

import pytest

from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    NameUnknown,
    RangeInvalid,
    SizeInvalid,
    StoreFull,
    Unavailable,
)
from artifactapi.oci.hashing import Hasher
from artifactapi.registry.intake import INLINE, ClientGone
from tests.registry import balance
from tests.registry.bodies import BIG, NAME, NOWHERE, OTHER, SMALL, Pieces, content_of, cut, hung_up, outcomes, push
from tests.registry.steps import Steps

SIZES = (0, 1, INLINE - 1, INLINE, INLINE + 1, 2 * INLINE, len(BIG))


async def monolithic(uploads, content, digest, size) -> None:
    """One POST."""
    await uploads.push(NAME, digest, cut(content, size))


async def post_put(uploads, content, digest, size) -> None:
    """POST, PUT with the whole blob."""
    session = await uploads.start(NAME)
    await uploads.finish(NAME, session.id, digest, cut(content, size), None)


async def streamed(uploads, content, digest, size) -> None:
    """POST, one PATCH, empty PUT: docker's way."""
    session = await uploads.start(NAME)
    assert (await uploads.append(NAME, session.id, cut(content, size), None)).offset == len(content)
    await uploads.finish(NAME, session.id, digest, Pieces(), None)


async def chunked(uploads, content, digest, size) -> None:
    """POST, PATCH after PATCH, the last chunk in the PUT."""
    session, at = await uploads.start(NAME), 0
    while len(content) - at > size:
        session = await uploads.append(NAME, session.id, Pieces(content[at : at + size]), at)
        at += size
        assert session.offset == at
        assert await uploads.status(NAME, session.id) == session
    await uploads.finish(NAME, session.id, digest, Pieces(content[at:]), at)


WAYS = (monolithic, post_put, streamed, chunked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", SIZES)
async def test_blobs(registry, directory, way, length):
    """Whatever its size and the way it came, a blob is what was pushed; up to 64 KiB it needs no object."""
    content = BIG[:length]
    digest = digest_of(content)
    await way(registry.uploads, content, digest, 25_000)
    assert await content_of(registry, NAME, digest) == content
    assert ((await registry.blobs.find(NAME, digest)).content is not None) is (length <= INLINE)
    assert len(balance.objects(directory)) == (length > INLINE)
    assert balance.staged(directory) == set()
    assert await registry.uploads.count() == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_digest_mismatch(registry, directory, way, content):
    """Content of another digest ends its session: no blob, no object, and nothing to go on with."""
    wrong = digest_of(content + b"!")
    with pytest.raises(DigestInvalid) as error:
        await way(registry.uploads, content, wrong, 25_000)
    assert error.value.detail == {"digest": str(wrong), "actual": str(digest_of(content))}
    for digest in (wrong, digest_of(content)):
        with pytest.raises(BlobUnknown):
            await registry.blobs.find(NAME, digest)
    assert balance.objects(directory) | balance.staged(directory) == set()
    assert await registry.uploads.count() == 0


@pytest.mark.parametrize(
    "announced, used, read_again", [("sha256", "sha256", 0), ("sha512", "sha512", 0), ("sha256", "sha512", 1),
                                    ("sha512", "sha256", 1)]
)  # fmt: skip
async def test_algorithms(registry, stepped, announced, used, read_again):
    """The hash goes on from chunk to chunk; bytes are read again only for an algorithm that nobody announced."""
    steps = Steps()
    uploads, digest = stepped(steps).uploads, digest_of(BIG, used)
    session = await uploads.start(NAME, announced)
    for at in range(0, len(BIG), 70_001):
        session = await uploads.append(NAME, session.id, Pieces(BIG[at : at + 70_001]), at)
    await uploads.finish(NAME, session.id, digest, Pieces(), None)
    assert steps.taken.count("after open") == read_again
    assert await content_of(registry, NAME, digest) == BIG


async def test_small_sha512(registry):
    """A small blob needs no announcement at all."""
    session = await registry.uploads.start(NAME)
    await registry.uploads.finish(NAME, session.id, digest_of(SMALL, "sha512"), Pieces(SMALL), None)
    assert await content_of(registry, NAME, digest_of(SMALL, "sha512")) == SMALL


@pytest.mark.parametrize("wrong", [False, True])
async def test_hash_that_was_not_kept(registry, monkeypatch, wrong):
    """Where a hash cannot be written down the bytes are read again, and compared all the same."""
    monkeypatch.setattr(Hasher, "export", lambda self: None)
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(BIG[:100_000]), 0)
    digest = digest_of(BIG + b"!" * wrong)
    finishing = registry.uploads.finish(NAME, session.id, digest, Pieces(BIG[100_000:]), None)
    if wrong:
        with pytest.raises(DigestInvalid):
            await finishing
    else:
        await finishing
        assert await content_of(registry, NAME, digest) == BIG


@pytest.mark.parametrize("kept", [0, 10, INLINE, INLINE + 1, 150_000])
@pytest.mark.parametrize("last", [False, True])
async def test_client_gone(registry, kept, last):
    """What arrived before a client hung up is kept, in a PATCH and in a PUT; the status tells it, and it goes on."""
    uploads, digest = registry.uploads, digest_of(BIG)
    session = await uploads.start(NAME)
    body = hung_up(BIG[: kept // 2], BIG[kept // 2 : kept])
    with pytest.raises(ClientGone):
        await (uploads.finish(NAME, session.id, digest, body, 0) if last else uploads.append(NAME, session.id, body, 0))
    assert (await uploads.status(NAME, session.id)).offset == kept
    await uploads.append(NAME, session.id, Pieces(BIG[kept : kept + 20]), kept)
    await uploads.finish(NAME, session.id, digest, Pieces(BIG[kept + 20 :]), kept + 20)
    assert await content_of(registry, NAME, digest) == BIG


@pytest.mark.parametrize("content", [b"", SMALL, BIG])
@pytest.mark.parametrize("error", [ClientGone(), SizeInvalid("shorter than it said")])
async def test_a_push_that_fails(registry, content, error):
    """A push in one request that fails leaves no session: nobody knows its name."""
    with pytest.raises(type(error)):
        await registry.uploads.push(NAME, digest_of(BIG), Pieces(content, then=error))
    assert await registry.uploads.count() == 0


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_a_body_that_is_wrong(registry, content):
    """A body with an error in it adds nothing: the session is where it was, and goes on from there."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    before = await uploads.append(NAME, session.id, Pieces(content), 0)
    with pytest.raises(SizeInvalid):
        await uploads.append(NAME, session.id, Pieces(content, then=SizeInvalid("shorter than it said")), None)
    assert (await uploads.status(NAME, session.id)).offset == before.offset
    await uploads.finish(NAME, session.id, digest_of(content + b"end"), Pieces(b"end"), len(content))
    assert await content_of(registry, NAME, digest_of(content + b"end")) == content + b"end"


@pytest.mark.parametrize("start", [0, 4, 6, 1 << 60])
async def test_out_of_order(registry, start):
    """A chunk that is not the next one is refused with the place where the session is, which stays there."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    await uploads.append(NAME, session.id, Pieces(b"12345"), 0)
    digest = digest_of(b"1234567890")
    for attempt in (
        uploads.append(NAME, session.id, Pieces(b"67890"), start),
        uploads.finish(NAME, session.id, digest, Pieces(b"67890"), start),
    ):
        with pytest.raises(RangeInvalid) as error:
            await attempt
        assert error.value.status == 416
        assert error.value.headers == {"Range": "0-4", "Location": f"/v2/{NAME}/blobs/uploads/{session.id}"}
    await uploads.finish(NAME, session.id, digest, Pieces(b"67890"), 5)


async def test_out_of_order_from_the_beginning(registry):
    """The place of an empty session is told as the spec has it."""
    session = await registry.uploads.start(NAME)
    with pytest.raises(RangeInvalid) as error:
        await registry.uploads.append(NAME, session.id, Pieces(b"x"), 1)
    assert error.value.headers["Range"] == "0-0"


async def test_unknown_sessions(registry):
    """A session that never was, is over, or is another image's, cannot be used for anything."""
    uploads = registry.uploads
    finished, cancelled, foreign = [await uploads.start(NAME) for _ in range(3)]
    await uploads.finish(NAME, finished.id, digest_of(SMALL), Pieces(SMALL), None)
    await uploads.cancel(NAME, cancelled.id)
    for name, upload_id in ((NAME, uuid4()), (NAME, finished.id), (NAME, cancelled.id), (OTHER, foreign.id)):
        for attempt in (
            uploads.status(name, upload_id),
            uploads.append(name, upload_id, Pieces(b"x"), None),
            uploads.append(name, upload_id, Pieces(b"x"), 0),
            uploads.finish(name, upload_id, digest_of(b"x"), Pieces(b"x"), None),
            uploads.cancel(name, upload_id),
        ):
            with pytest.raises(BlobUploadUnknown):
                await attempt
    assert await uploads.status(NAME, foreign.id) == foreign


async def test_unknown_repo(registry):
    """No session begins, and nothing is pushed, in a repo that does not exist."""
    for attempt in (registry.uploads.start(NOWHERE), registry.uploads.push(NOWHERE, digest_of(BIG), Pieces(BIG))):
        with pytest.raises(NameUnknown):
            await attempt


@pytest.mark.parametrize("content", [b"", SMALL, BIG])
async def test_cancel(registry, directory, content):
    """A cancelled session is gone with its bytes."""
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(content), None)
    await registry.uploads.cancel(NAME, session.id)
    assert await registry.uploads.count() == 0
    assert balance.objects(directory) | balance.staged(directory) == set()


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_one_digest_pushed_by_many(registry, directory, content):
    """Many who push one blob at the same time all succeed; its bytes are kept once."""
    images = [replace(NAME, image=f"image/{n % 3}") for n in range(9)]
    assert await outcomes(*(push(registry, content, image) for image in images)) == [digest_of(content)] * 9
    for image in images:
        assert await content_of(registry, image, digest_of(content)) == content
    assert len(balance.objects(directory)) == (content == BIG)


@pytest.mark.parametrize("step", ["before writer", "before write", "before settle", "before commit"])
@pytest.mark.parametrize("error", [StoreFull("full"), Unavailable("away")])
async def test_a_store_that_fails(registry, stepped, step, error):
    """A full or broken store fails the request as what it is, and costs nothing that was durable before."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    await uploads.append(NAME, session.id, Pieces(BIG[:100]), 0)
    failing = stepped(Steps(lambda reached: fail(error) if reached == step else None)).uploads
    with pytest.raises(type(error)):
        await failing.finish(NAME, session.id, digest_of(BIG), Pieces(BIG[100:]), 100)
    offset = (await uploads.status(NAME, session.id)).offset
    assert offset == (len(BIG) if step == "before commit" else 100)
    await uploads.finish(NAME, session.id, digest_of(BIG), Pieces(BIG[offset:]), offset)
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


def fail(error: Exception) -> None:
    """Raise it."""
    raise error


async def test_a_store_that_cannot_delete(registry, stepped, directory):
    """A session whose bytes cannot be deleted now is cancelled all the same; a sweep deletes them later."""
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(BIG), None)
    failing = stepped(Steps(lambda step: fail(Unavailable("away")) if step == "before abort" else None)).uploads
    await failing.cancel(NAME, session.id)
    assert balance.staged(directory) == {session.key}
    assert await registry.uploads.count() == 0


async def test_a_failed_upload_closes_its_file(registry, directory):
    """An upload that fails, however it does, holds no file open."""
    session = await registry.uploads.start(NAME)
    for body in (hung_up(BIG), Pieces(BIG, then=SizeInvalid("wrong"))):
        with pytest.raises((ClientGone, SizeInvalid)):
            await registry.uploads.append(NAME, session.id, body, None)
    with pytest.raises(DigestInvalid):
        await registry.uploads.finish(NAME, session.id, digest_of(SMALL), Pieces(), None)
    assert not [path for path in map(os.path.realpath, glob("/proc/self/fd/*")) if str(directory) in path]


@pytest.mark.parametrize("rest", [b"", b"more"])
async def test_staged_bytes_that_are_gone(registry, store, rest):
    """A session whose bytes somebody deleted is told to be unknown, so that the client pushes anew."""
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(BIG), None)
    await store.abort(session.key, None)
    with pytest.raises(BlobUploadUnknown):
        await registry.uploads.finish(NAME, session.id, digest_of(BIG + rest), Pieces(*filter(None, [rest])), None)
    await registry.uploads.cancel(NAME, session.id)
