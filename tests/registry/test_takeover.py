"""Two who write to one session: one goes on, the other is told, and their bytes never mix."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from artifactapi.objects.staged import Staged
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import BlobUploadUnknown, DigestInvalid, RangeInvalid, UploadConflict
from artifactapi.registry.registry import Registry
from tests.metadata.conftest import eventually
from tests.registry import balance
from tests.registry.bodies import BIG, NAME, SMALL, Pieces, Slow, content_of, outcomes
from tests.registry.steps import Steps, named

FIRST = {"small": SMALL, "big": BIG}


async def begin(uploads, upload_id, *pieces: bytes) -> tuple[Slow, Deferred]:
    """A writer that has these in, and waits for more."""
    body = Slow()
    appending = Deferred.fromCoroutine(uploads.append(NAME, upload_id, body, None))
    await eventually(lambda: body.waiting)
    for piece in pieces:
        before = body.waiting
        body.send(piece)
        await eventually(lambda before=before: body.waiting > before)
    return body, appending


async def conflicts(appending: Deferred, error=UploadConflict) -> None:
    """The writer is told."""
    with pytest.raises(error):
        await appending


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("second", FIRST.values(), ids=FIRST)
async def test_take_over(registry, first, second):
    """A PATCH that begins while another one runs takes the session over; of the first one nothing is left."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    body, appending = await begin(uploads, session.id, first)
    taken = await uploads.append(NAME, session.id, Pieces(second), 0)
    assert taken.offset == len(second)
    body.send(b"too late")
    body.send()
    await conflicts(appending)
    await uploads.finish(NAME, session.id, digest_of(second), Pieces(), len(second))
    assert await content_of(registry, NAME, digest_of(second)) == second


async def test_take_over_in_the_middle(registry):
    """What both had agreed on stays: the session goes on from its durable bytes."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    await uploads.append(NAME, session.id, Pieces(BIG[:100_000]), 0)
    body, appending = await begin(uploads, session.id, b"!" * 50_000)
    await uploads.append(NAME, session.id, Pieces(BIG[100_000:150_000]), 100_000)
    body.send()
    await conflicts(appending)
    await uploads.finish(NAME, session.id, digest_of(BIG), Pieces(BIG[150_000:]), 150_000)
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


@pytest.mark.parametrize("first", [SMALL, BIG])
async def test_finish_takes_over(registry, first):
    """A PUT ends the session while a PATCH is still sending: the PATCH is told, the blob is the PUT's."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    body, appending = await begin(uploads, session.id, first)
    await uploads.finish(NAME, session.id, digest_of(BIG), Pieces(BIG), 0)
    body.send(b"too late")
    body.send()
    await conflicts(appending)
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


@pytest.mark.parametrize("first", [SMALL, BIG])
async def test_cancel_takes_over(registry, directory, first):
    """A session is cancelled while a PATCH is still sending: the PATCH is told, and no bytes are left."""
    session = await registry.uploads.start(NAME)
    body, appending = await begin(registry.uploads, session.id, first)
    await registry.uploads.cancel(NAME, session.id)
    body.send(b"too late")
    body.send()
    await conflicts(appending)
    assert balance.objects(directory) | balance.staged(directory) == set()


async def test_a_repo_is_deleted_meanwhile(registry):
    """A repo is deleted while a PATCH is still sending: the PATCH is told, and the bytes go."""
    session = await registry.uploads.start(NAME)
    body, appending = await begin(registry.uploads, session.id, BIG)
    await registry.repos.delete(NAME.repo, force=True)
    body.send(b"too late")
    body.send()
    await conflicts(appending)
    with pytest.raises(BlobUploadUnknown):
        await registry.uploads.status(NAME, session.id)


def stopped_at(step: str) -> tuple[Steps, Deferred, Deferred]:
    """Steps that stop at one: what tells that it is reached, and what lets it go on."""
    reached, go = Deferred(), Deferred()

    async def wait():
        reached.callback(None)
        await go

    return Steps(lambda taken: wait() if taken == step else None), reached, go


async def cancel(uploads, upload_id, content) -> None:
    """End it."""
    await uploads.cancel(NAME, upload_id)


async def finish(uploads, upload_id, content) -> None:
    """Make it a blob."""
    await uploads.finish(NAME, upload_id, digest_of(content), Pieces(content), 0)


async def fail(uploads, upload_id, content) -> None:
    """End it with a digest that is not the content's."""
    with pytest.raises(DigestInvalid):
        await uploads.finish(NAME, upload_id, digest_of(SMALL), Pieces(content), 0)


async def take(uploads, upload_id, content) -> None:
    """Go on with it, to its end."""
    await uploads.append(NAME, upload_id, Pieces(content[:-5]), 0)
    await uploads.finish(NAME, upload_id, digest_of(content), Pieces(content[-5:]), len(content) - 5)


SLEEPS = ["after claim", *(f"{w} {s}" for s in ("advance", "writer", "write", "settle") for w in ("before", "after"))]


@pytest.mark.parametrize("other", [cancel, finish, fail, take])
async def test_a_slow_writer(registry, stepped, database, directory, other):
    """A writer that sleeps at a step while another request has its way with the session is told, and harms nothing."""
    for step in (*SLEEPS, "before advance 2"):
        content = BIG + step.encode()
        session = await registry.uploads.start(NAME)
        steps, reached, go = stopped_at(step)
        slow = stepped(steps).uploads.append(NAME, session.id, Pieces(b"!" * 100_000), 0)
        slow = Deferred.fromCoroutine(slow)
        await reached
        await other(registry.uploads, session.id, content)
        go.callback(None)
        with named(step):
            await conflicts(slow)
            await balance.check(database, directory)
            if other in (finish, take):
                assert await content_of(registry, NAME, digest_of(content)) == content


@pytest.mark.parametrize("step", ["before commit", "after commit", "before finish"])
async def test_a_slow_finish(registry, stepped, step):
    """A PUT that sleeps before its row while another one ends the session is told; the blob is there once."""
    session = await registry.uploads.start(NAME)
    steps, reached, go = stopped_at(step)
    await registry.uploads.append(NAME, session.id, Pieces(BIG), 0)
    slow = Deferred.fromCoroutine(stepped(steps).uploads.finish(NAME, session.id, digest_of(BIG), Pieces(), None))
    await reached
    await registry.uploads.finish(NAME, session.id, digest_of(BIG), Pieces(), None)
    go.callback(None)
    await conflicts(slow)
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


async def test_many_at_the_same_time(registry):
    """Of many who send the same chunk to one session at once some win; whatever they are told, no bytes are mixed."""
    uploads = registry.uploads
    session = await uploads.start(NAME)
    for at in range(0, len(BIG), 50_000):
        chunk = BIG[at : at + 50_000]
        told = await outcomes(*(uploads.append(NAME, session.id, Pieces(chunk), at) for _ in range(5)))
        assert all(isinstance(t, UploadConflict | RangeInvalid) or t.offset == at + len(chunk) for t in told), told
        if (await uploads.status(NAME, session.id)).offset == at:
            await uploads.append(NAME, session.id, Pieces(chunk), at)
    await uploads.finish(NAME, session.id, digest_of(BIG), Pieces(), len(BIG))
    assert await content_of(registry, NAME, digest_of(BIG)) == BIG


async def test_a_digest_that_is_wrong_ends_only_its_own_session(registry, monkeypatch):
    """A PUT that lost the session to another request, and whose digest is wrong, does not end the other's session."""
    uploads, reached, gate = registry.uploads, Deferred(), Deferred()
    session = await uploads.start(NAME)
    await uploads.append(NAME, session.id, Pieces(SMALL), 0)
    real = uploads._digest

    async def slow(session, algorithm):
        monkeypatch.setattr(uploads, "_digest", real)
        reached.callback(None)
        await gate
        return await real(session, algorithm)

    monkeypatch.setattr(uploads, "_digest", slow)
    losing = Deferred.fromCoroutine(uploads.finish(NAME, session.id, digest_of(b"wrong"), Pieces(), None))
    await reached
    await uploads.append(NAME, session.id, Pieces(b"more"), len(SMALL))
    gate.callback(None)
    with pytest.raises(DigestInvalid):
        await losing
    await uploads.finish(NAME, session.id, digest_of(SMALL + b"more"), Pieces(), None)


async def test_requests_without_bytes(s3_store, database, threads, registry):
    """They leave a session on S3 as it was: the numbers of parts are not used up by them."""
    over_s3 = Registry.over(database, s3_store, threads)
    session = await over_s3.uploads.start(NAME)
    content = bytes(9 * 1024 * 1024)
    await over_s3.uploads.append(NAME, session.id, Pieces(content), 0)
    for _ in range(10):
        await over_s3.uploads.append(NAME, session.id, Pieces(), None)
    row = await over_s3.uploads.status(NAME, session.id)
    assert Staged.parse(row.store_state).claimed(row.fence + 1).number == 2
    await over_s3.uploads.cancel(NAME, session.id)
