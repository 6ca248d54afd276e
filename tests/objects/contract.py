"""What every store of bytes must do. A test class of a store inherits it and gives the fixture `store`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface.verify import verifyClass, verifyObject

from artifactapi.objects.interface import (
    Committed,
    IObjectReader,
    IObjectStore,
    IObjectWriter,
    ObjectMissing,
    State,
    Superseded,
)

READ = 1024 * 1024
LONG = bytes(range(256)) * 24_000  # 6,144,000 bytes: many reads, and more than the least part that S3 takes

PIECES = {
    "one": [[b"all at once"]],
    "bytes": [[bytes([n]) for n in range(256)]],
    "writes": [[b"a"], [b"bc", b"def"], [b"g" * 100_000], [b"h"]],
    "empty pieces": [[b"", b"a", b""], [b""], [], [b"b"]],
    "nothing": [[b""], []],
    "more than one system call takes": [[b"piece %5d" % n for n in range(5000)]],
    "long": [[LONG, LONG], [LONG]],
}
RANGES = {
    "all": (0, len(LONG)),
    "first byte": (0, 1),
    "last byte": (len(LONG) - 1, 1),
    "nothing": (len(LONG), 0),
    "nothing at the start": (0, 0),
    "across two reads": (READ - 1, 2),
    "exactly one read": (READ, READ),
    "from the middle to the end": (300_000, len(LONG) - 300_000),
}


def new_key() -> str:
    """A key as the registry makes them: random, never used twice."""
    key = uuid4()
    return f"blobs/{key.hex[:2]}/{key}"


def as_row(state: State) -> State:
    """The state as it comes back from the session's row, where it is JSON."""
    return json.loads(json.dumps(state))


CLAIMED: dict[str, int] = {}
"""What the sessions' rows say: the highest fence of each key."""


async def writer_of(store: IObjectStore, key: str, state: State, fence: int) -> IObjectWriter:
    """A writer that has claimed the session; its checkpoints find out when another one has."""
    CLAIMED[key] = max(fence, CLAIMED.get(key, 0))

    async def checkpoint(state: State, length: int) -> None:
        if CLAIMED[key] != fence:
            raise Superseded

    return await store.writer(key, state, fence, checkpoint)


async def stage(
    store: IObjectStore, key: str, *pieces: bytes, state: State | None = None, fence: int = 1, last: bool = False
) -> State:
    """Write these after `state`, and settle."""
    writer = await writer_of(store, key, state or {}, fence)
    await writer.write(pieces)
    return as_row(await writer.settle(last))


async def seal(store: IObjectStore, key: str, state: State, fence: int) -> State:
    """The state as it may be committed. A fence is one writer's: the next request has the next."""
    return state if store.is_sealed(state) else await stage(store, key, state=state, fence=fence + 1, last=True)


async def commit(store: IObjectStore, key: str, state: State, fence: int) -> str:
    """Seal and commit, as the request after the one with this fence does; the object's key."""
    return (await store.commit(key, await seal(store, key, state, fence), fence + 1)).key


async def put(store: IObjectStore, *pieces: bytes) -> str:
    """A committed object; its key."""
    key = new_key()
    return await commit(store, key, await stage(store, key, *pieces), 1)


async def content(store: IObjectStore, key: str, start: int, length: int) -> bytes:
    """A range of an object, as a download reads it."""
    reader = await store.open(key, start, length)
    try:
        pieces = []
        while piece := await reader.read():
            assert len(piece) <= READ
            pieces.append(piece)
        assert await reader.read() == b"", "the end is the end"
        return b"".join(pieces)
    finally:
        reader.close()


async def holds(store: IObjectStore, key: str, expected: bytes) -> None:
    """The object is exactly these bytes: it gives no more when it is asked for more."""
    assert await content(store, key, 0, len(expected)) == expected
    assert await content(store, key, len(expected), 1) == b""


async def is_missing(store: IObjectStore, key: str) -> None:
    """There is no object under the key."""
    with pytest.raises(ObjectMissing):
        await store.open(key, 0, 1)


async def has_lost(writer: IObjectWriter, pieces: Sequence[bytes] = (b"too late",)) -> None:
    """The writer is told that another one goes on."""
    with pytest.raises(Superseded):
        await writer.write(pieces)
    await writer.close()


def fetched(url: str) -> bytes:
    """What a client finds there, without a proxy."""
    with build_opener(ProxyHandler({})).open(url, timeout=30) as answer:
        return bytes(answer.read())


async def outcomes(work: Iterable[object]) -> list[object]:
    """Run coroutines at the same time; what each returned or raised."""
    done = await DeferredList([Deferred.fromCoroutine(w) for w in work], consumeErrors=True)
    return [result.value if isinstance(result, Failure) else result for _, result in done]


class StoreContract:
    """The tests; `store` is a started IObjectStore with nothing in it."""

    TELLS_LOSERS = True
    """Whether the store itself tells a writer that it has lost. If not, the session's row does."""

    async def has_lost(self, writer: IObjectWriter) -> None:
        """The writer is told that another one goes on, if the store can tell."""
        if self.TELLS_LOSERS:
            await has_lost(writer)
        else:
            await outcomes([writer.write([b"too late", LONG])])
            await writer.close()

    async def test_is_what_it_says(self, store):
        """The store, its readers and its writers keep their interfaces."""
        key = await put(store, b"bytes")
        reader, writer = await store.open(key, 1, 3), await writer_of(store, new_key(), {}, 1)
        for interface, made in ((IObjectStore, store), (IObjectReader, reader), (IObjectWriter, writer)):
            assert verifyClass(interface, type(made))
            assert verifyObject(interface, made)
        assert reader.length == 3
        reader.close()
        await writer.close()

    async def test_takes_and_gives(self, store):
        """A store that works says so, again and again, and also to several who ask at once."""
        await store.check()
        assert await outcomes(store.check() for _ in range(20)) == [None] * 20

    @pytest.mark.parametrize("writes", PIECES.values(), ids=PIECES)
    async def test_bytes_come_back_as_they_came(self, store, writes):
        """Whatever pieces the bytes come in, the object is their sequence."""
        key = new_key()
        writer = await writer_of(store, key, {}, 1)
        for pieces in writes:
            await writer.write(pieces)
        made = await commit(store, key, as_row(await writer.settle(False)), 1)
        await holds(store, made, b"".join(piece for pieces in writes for piece in pieces))

    async def test_goes_on_from_a_state(self, store):
        """Each writer appends to what the ones before it settled; one that adds nothing takes nothing away."""
        key = new_key()
        state = await stage(store, key, b"one,")
        state = await stage(store, key, state=state, fence=2)
        state = await stage(store, key, b"two,", state=state, fence=3)
        state = await stage(store, key, LONG, state=state, fence=7)
        await holds(store, await commit(store, key, state, 7), b"one,two," + LONG)

    async def test_objects_do_not_mix(self, store):
        """Objects written at the same time have their own bytes each."""
        bodies = [b"%d" % n * 50_000 for n in range(20)]
        keys = await outcomes(put(store, body) for body in bodies)
        for key, body in zip(keys, bodies, strict=True):
            await holds(store, key, body)

    async def test_higher_fence_takes_over(self, store):
        """A second writer goes on from the settled bytes; the first gets Superseded, and none of its bytes count."""
        key = new_key()
        state = await stage(store, key, b"settled,")
        loser = await writer_of(store, key, state, 2)
        await loser.write([b"lost" * 1000])
        winner = await writer_of(store, key, state, 3)
        await self.has_lost(loser)
        await winner.write([b"won"])
        await holds(store, await commit(store, key, as_row(await winner.settle(False)), 3), b"settled,won")

    async def test_a_loser_that_settles_does_no_harm(self, store):
        """The bytes of a writer that settles after it lost are not in the object."""
        key = new_key()
        loser = await writer_of(store, key, {}, 1)
        await loser.write([b"lost"])
        winner = await writer_of(store, key, {}, 2)
        await outcomes([loser.settle(False)])  # it may learn here that it lost, or from its row
        await winner.write([b"w"])
        await holds(store, await commit(store, key, as_row(await winner.settle(False)), 2), b"w")

    async def test_lower_fence_is_refused(self, store):
        """Whoever comes late with a lower fence does not disturb the writer, and is told so if the store can tell."""
        key = new_key()
        state = await stage(store, key, b"one,", fence=4)
        writer = await writer_of(store, key, state, 5)
        await writer.write([b"two,"])
        late = await outcomes([stage(store, key, LONG, state=state, fence=3)])
        if self.TELLS_LOSERS:
            late += await outcomes([store.commit(key, state, 3)])
            assert all(isinstance(outcome, Superseded) for outcome in late)
        await writer.write([b"three"])
        await holds(store, await commit(store, key, as_row(await writer.settle(False)), 5), b"one,two,three")

    async def test_of_many_one_goes_on(self, store):
        """Of eight that write at once the one with the highest fence goes on; the others get nothing in."""
        key = new_key()
        state = await stage(store, key, b"settled,")
        made = await outcomes(writer_of(store, key, state, fence) for fence in (5, 2, 9, 3, 7, 4, 8, 6))
        writers = [w for w in made if not isinstance(w, Superseded)]
        assert all(hasattr(w, "write") for w in writers), made
        told = await outcomes(writer.write([b"by number %d" % made.index(writer)]) for writer in writers)
        assert all(t is None or isinstance(t, Superseded) for t in told)
        assert sum(t is None for t in told) == 1 or not self.TELLS_LOSERS
        won = made[2]  # fence 9
        settled = await outcomes(writer.settle(False) for writer in writers)
        await outcomes(writer.close() for writer in writers)
        final = await commit(store, key, as_row(settled[writers.index(won)]), 9)
        await holds(store, final, b"settled,by number 2")

    async def test_bytes_not_settled_are_dropped(self, store):
        """What a writer did not settle is not there for the next one, who goes on from the row's state."""
        key = new_key()
        state = await stage(store, key, b"settled,")
        crashed = await writer_of(store, key, state, 2)
        await crashed.write([b"never settled"])
        await crashed.close()
        state = await stage(store, key, b"new", state=state, fence=3)
        await holds(store, await commit(store, key, state, 3), b"settled,new")

    async def test_settled_bytes_the_row_does_not_know_are_dropped(self, store):
        """A crash between settling and the row: the state of the row counts."""
        key = new_key()
        state = await stage(store, key, b"in the row,")
        await stage(store, key, b"not in the row", state=state, fence=2)
        state = await stage(store, key, b"new", state=state, fence=3)
        await holds(store, await commit(store, key, state, 3), b"in the row,new")

    async def test_close(self, store):
        """A writer may be closed after it settled, and twice."""
        writer = await writer_of(store, new_key(), {}, 1)
        await writer.write([b"bytes"])
        await writer.settle(False)
        await writer.close()
        await writer.close()

    async def test_commit_may_be_repeated(self, store):
        """A commit whose answer was lost is done again, by the same or a later writer, and by several at once."""
        key = new_key()
        state = await seal(store, key, await stage(store, key, LONG), 2)
        first = await store.commit(key, state, 2)
        assert await store.commit(key, state, 2) == first
        assert await outcomes(store.commit(key, state, fence) for fence in (3, 4, 5)) == [first] * 3
        await holds(store, first.key, LONG)

    async def test_commits_at_the_same_time(self, store):
        """Two commits of one writer's bytes make one object; whoever is told of a failure is told Superseded."""
        key = new_key()
        state = await seal(store, key, await stage(store, key, LONG), 2)
        told = await outcomes(store.commit(key, state, fence) for fence in (2, 3, 4, 5))
        made = {t for t in told if isinstance(t, Committed)}
        assert len(made) == 1, told
        assert all(isinstance(t, Committed | Superseded) for t in told), told
        await holds(store, made.pop().key, LONG)

    @pytest.mark.parametrize("written", [False, True])
    async def test_commit_of_zero_bytes(self, store, written):
        """An object may be empty, whether a writer began it or not."""
        key = new_key()
        state = await stage(store, key) if written else {}
        await holds(store, await commit(store, key, state, 1), b"")

    async def test_commit_takes_what_the_state_says(self, store):
        """Bytes beyond the state are not in the object."""
        key = new_key()
        state = await stage(store, key, b"in the row")
        crashed = await writer_of(store, key, state, 2)
        await crashed.write([b" and some more"])
        await crashed.close()
        await holds(store, await commit(store, key, state, 3), b"in the row")

    async def test_commit_takes_over(self, store):
        """A commit with a higher fence ends the writer that is at work."""
        key = new_key()
        state = await stage(store, key, LONG)
        writer = await writer_of(store, key, state, 2)
        made = await commit(store, key, state, 3)
        await self.has_lost(writer)
        await holds(store, made, LONG)

    @pytest.mark.parametrize("fence", [1, 2])
    async def test_committed_is_final(self, store, fence):
        """Nobody writes into an object that is committed."""
        key = new_key()
        state = await seal(store, key, await stage(store, key, LONG), 1)
        made = (await store.commit(key, state, 1)).key
        with pytest.raises(Superseded):
            await stage(store, key, LONG, state=state, fence=fence + 2)
        late = await outcomes([stage(store, key, b"late", LONG, fence=fence + 2)])
        assert not self.TELLS_LOSERS or isinstance(late[0], Superseded)
        await holds(store, made, LONG)

    @pytest.mark.parametrize("start, length", RANGES.values(), ids=RANGES)
    async def test_ranges(self, store, start, length):
        """A reader gives the bytes it was opened for, at most 1 MiB at a time, then b"" for ever."""
        key = await put(store, LONG)
        assert await content(store, key, start, length) == LONG[start : start + length]

    async def test_readers_are_independent(self, store):
        """Two readers of one object each have a place of their own; closing one twice leaves the other alone."""
        key = await put(store, LONG)
        one, two = await store.open(key, 0, len(LONG)), await store.open(key, 5, len(LONG) - 5)
        assert (await one.read())[:5] == LONG[:5]
        one.close()
        one.close()
        assert (await two.read())[:5] == LONG[5:10]
        two.close()

    async def test_missing(self, store):
        """What was never there, or is not committed yet, cannot be opened."""
        await is_missing(store, new_key())
        key = new_key()
        await stage(store, key, b"bytes")
        await is_missing(store, key)

    async def test_delete(self, store):
        """Committed and absent objects are deleted alike, again and again; all others stay."""
        one, two, absent, other = (
            await put(store, b"one"),
            await put(store, LONG),
            new_key(),
            await put(store, b"other"),
        )
        for _ in range(2):
            await store.delete([one, two, absent])
        for key in (one, two, absent):
            await is_missing(store, key)
        await holds(store, other, b"other")
        await store.delete([])

    @pytest.mark.parametrize("content", [b"bytes", LONG], ids=["few", "many"])
    async def test_abort(self, store, content):
        """What is staged, committed or not, goes, again and again; all others stay."""
        staged, committed, absent, other = new_key(), new_key(), new_key(), await put(store, b"other")
        await stage(store, staged, content)
        made = await commit(store, committed, await stage(store, committed, content), 1)
        for key in (staged, committed, absent) * 2:
            await store.abort(key, None)
        await is_missing(store, made)
        await is_missing(store, staged)
        await holds(store, other, b"other")

    @pytest.mark.parametrize("content", [b"bytes", LONG], ids=["few", "many"])
    async def test_abort_keeps_the_object(self, store, content):
        """What others have staged beside an object goes; the object stays."""
        key = new_key()
        crashed = await writer_of(store, key, {}, 1)
        await crashed.write([LONG])
        await crashed.close()
        made = await commit(store, key, await stage(store, key, content, fence=2), 2)
        for _ in range(2):
            await store.abort(key, made)
        await holds(store, made, content)

    async def test_abort_ends_the_writer(self, store):
        """The writer of a cancelled upload gets Superseded."""
        key = new_key()
        writer = await writer_of(store, key, {}, 1)
        await writer.write([b"bytes"])
        await store.abort(key, None)
        await self.has_lost(writer)

    async def test_shorter_than_its_state(self, store):
        """Staged bytes that are gone are missed when it is sealed or committed, not replaced by nothing."""
        key = new_key()
        state = await stage(store, key, b"bytes")
        sealed = await seal(store, key, state, 2)
        await store.abort(key, None)
        for late in (stage(store, key, LONG, state=state, fence=3, last=True), store.commit(key, sealed, 3)):
            with pytest.raises(ObjectMissing):
                await late
        await is_missing(store, key)

    async def test_size(self, store):
        """A committed object has a size; what is staged or was never there has none."""
        key = new_key()
        await stage(store, key, b"bytes")
        assert await store.size(key) is await store.size(new_key()) is None
        assert await store.size(await put(store, LONG)) == len(LONG)
        assert await store.size(await put(store)) == 0

    async def test_keys(self, store):
        """All keys come once, in order: committed ones, and those under which something is staged."""
        made = {await put(store, b"bytes") for _ in range(5)}
        staged = new_key()
        await stage(store, staged, LONG)
        found, after = [], ""
        while page := await store.keys(after):
            found += page
            after = page[-1]
        assert found == sorted(set(found))
        assert made < set(found)
        assert {key for key in found if key not in made} == {k for k in found if k.startswith(staged)} != set()

    async def test_url(self, store):
        """A client may get an object from the store itself, if the store has an address for it."""
        url = await store.url(await put(store, LONG), 60)
        assert url is None or await deferToThread(fetched, url) == LONG
