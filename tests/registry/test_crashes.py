"""A process that is killed between any two steps of an upload, and another one that goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from artifactapi.gc import outbox
from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import BlobUnknown, BlobUploadUnknown, DigestInvalid
from artifactapi.oci.names import ImageName
from artifactapi.registry.registry import Registry
from artifactapi.registry.uploads import Uploads
from tests.registry import balance
from tests.registry.bodies import BIG, SMALL, Pieces, content_of, push
from tests.registry.steps import Died, SteppedDatabase, SteppedStore, Steps, die_at, named

BASE = ImageName("docker-internal", "base")
Story = Callable[[Uploads, ImageName, UUID, bytes], Awaitable[object]]


async def put(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """All in the PUT."""
    await uploads.finish(name, upload_id, digest_of(content), Pieces(content[:100_000], content[100_000:]), 0)


async def patch_put(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """A stream, then an empty PUT."""
    await uploads.append(name, upload_id, Pieces(content), None)
    await uploads.finish(name, upload_id, digest_of(content), Pieces(), None)


async def patches(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """Chunks, of which the first is kept in the row."""
    for at in range(0, len(content), 60_000):
        await uploads.append(name, upload_id, Pieces(content[at : at + 60_000]), at)
    await uploads.finish(name, upload_id, digest_of(content), Pieces(), None)


async def push_all(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """In one request; the session that was begun is not used."""
    await uploads.push(name, digest_of(content), Pieces(content))


async def read_again(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """With an algorithm that nobody announced."""
    await uploads.finish(name, upload_id, digest_of(content, "sha512"), Pieces(content), 0)


async def mismatch(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """With a digest that is not the content's."""
    with pytest.raises(DigestInvalid):
        await uploads.finish(name, upload_id, digest_of(b"wrong"), Pieces(content), 0)


async def cancelled(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """A stream, and a client that changes its mind."""
    await uploads.append(name, upload_id, Pieces(content), 0)
    await uploads.cancel(name, upload_id)


async def small(uploads: Uploads, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """Bytes that never leave the row."""
    await uploads.append(name, upload_id, Pieces(content[:100]), 0)
    await uploads.finish(name, upload_id, digest_of(content[:200]), Pieces(content[100:200]), 100)


STORIES = {
    put: ("claim", "advance", "writer", "write", "write 2", "settle", "advance 2", "commit", "finish"),
    patch_put: ("claim", "advance", "writer", "write", "settle", "advance 2", "claim 2", "commit", "finish"),
    patches: (
        "claim", "advance", "claim 2", "advance 2", "writer", "write", "settle", "advance 3",
        "claim 3", "writer 2", "write 2", "settle 2", "advance 4", "claim 4", "writer 3", "write 3", "settle 3",
        "advance 5", "claim 5", "commit", "finish",
    ),
    push_all: ("start", "advance", "writer", "write", "settle", "advance 2", "commit", "finish"),
    read_again: (
        "claim", "advance", "writer", "write", "settle", "advance 2", "commit", "open", "commit 2", "finish",
    ),
    mismatch: ("claim", "advance", "writer", "write", "settle", "advance 2", "cancel", "abort"),
    cancelled: ("claim", "advance", "writer", "write", "settle", "advance 2", "cancel", "abort"),
    small: ("claim", "advance", "claim 2", "finish"),
}  # fmt: skip
NAMES = [pytest.param(story, id=story.__name__) for story in STORIES]


def steps_of(story: Story) -> list[str]:
    """All places where a process may die in it."""
    return [f"{when} {step}" for step in STORIES[story] for when in ("before", "after")]


@pytest.mark.parametrize("story", NAMES)
async def test_the_order_of_things(registry, stepped, story):
    """The row tells of bytes before there are any; they are durable before the row counts them; rows go first."""
    steps = Steps()
    name = ImageName("docker-internal", "ordered")
    session = await registry.uploads.start(name)
    await story(stepped(steps).uploads, name, session.id, BIG)
    assert steps.taken == steps_of(story)


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("story", NAMES)
async def test_death(registry, stepped, database, store, directory, story, known):
    """Whatever step a process dies at, no row is without bytes, no bytes are without a row, and another one goes on."""
    for step in steps_of(story):
        name, content = ImageName("docker-internal", step.replace(" ", "/")), BIG + step.encode()
        kept = await push(registry, content if known else content[::-1], BASE)
        session = await registry.uploads.start(name)
        with named(step):
            with pytest.raises(Died):
                await story(stepped(die_at(step)).uploads, name, session.id, content)
            await balance.check(database, directory)
            await outbox.sweep(database, store)
            await go_on(registry, name, session.id, content)
            await balance.check(database, directory)
            assert await content_of(registry, name, digest_of(content)) == content
            assert digest_of(await content_of(registry, BASE, kept)) == kept, "what was acknowledged before"


async def go_on(registry: Registry, name: ImageName, upload_id: UUID, content: bytes) -> None:
    """What a client does that got no answer: ask, send the rest; begin again where there is nothing to go on with."""
    try:
        session = await registry.uploads.status(name, upload_id)
        rest = filter(None, [content[session.offset :]])
        await registry.uploads.finish(name, upload_id, digest_of(content), Pieces(*rest), session.offset)
    except BlobUploadUnknown:
        await push(registry, content, name)


async def test_what_was_acknowledged_is_there(registry, stepped):
    """A process that dies right after its last step has told nobody yet; the blob is there all the same."""
    for step, expected in (("before finish", False), ("after finish", True)):
        name = ImageName("docker-internal", step.replace(" ", "/"))
        session = await registry.uploads.start(name)
        with pytest.raises(Died):
            await put(stepped(die_at(step)).uploads, name, session.id, BIG)
        assert await is_there(registry, name, digest_of(BIG)) is expected


async def is_there(registry: Registry, name: ImageName, digest: Digest) -> bool:
    """Whether the image has the blob."""
    try:
        await registry.blobs.find(name, digest)
    except BlobUnknown:
        return False
    return True


@pytest.mark.parametrize(
    "step", ["before due", "after due", "before abort", "after abort", "before done", "after done"]
)
async def test_death_of_a_sweep(registry, stepped, database, store, directory, step):
    """A sweep that dies at any step is done by the next one."""
    session = await registry.uploads.start(BASE)
    await registry.uploads.append(BASE, session.id, Pieces(BIG), 0)
    await database.query("DELETE FROM upload_sessions")
    await database.query(
        "INSERT INTO doomed_objects (key, store_state, after) VALUES (%s, %s, now())",
        (session.key, "{}"),
    )
    steps = die_at(step)
    with pytest.raises(Died):
        await outbox.sweep(SteppedDatabase(database, steps), SteppedStore(store, steps))
    await balance.check(database, directory)
    assert (await outbox.sweep(database, store)).gone == (0 if step == "after done" else 1)
    await balance.check_swept(database, directory)


async def test_small_blobs_need_no_store(registry, stepped):
    """A push of a small blob is two statements, and nothing else."""
    steps = Steps()
    await push(stepped(steps), SMALL, BASE)
    assert steps.taken == ["before start", "after start", "before finish", "after finish"]
