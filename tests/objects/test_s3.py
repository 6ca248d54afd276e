"""What only a bucket does: parts, checkpoints, take-overs that S3 does not know of, and a server that fails."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from artifactapi.objects import s3, s3_writer
from artifactapi.objects.bucket import Bucket
from artifactapi.objects.interface import Committed, ObjectMissing, Superseded
from artifactapi.objects.s3 import S3Store
from artifactapi.objects.s3_writer import GROWTH, LAST_NUMBER, PART, Memory, part_size
from artifactapi.objects.staged import WINDOW, Staged
from artifactapi.oci.errors import Refused, SizeInvalid, StoreFull, Unavailable
from tests.objects.contract import as_row, commit, content, holds, new_key, outcomes, put, stage, writer_of
from tests.objects.s3_server import OK, Broken
from tests.seaweed import BUCKET

MIB = 1024 * 1024
LEAST = 5 * MIB  # S3 takes no smaller part, but for the last


@pytest.fixture
def small_parts(monkeypatch):
    """Parts as small as S3 takes them."""
    monkeypatch.setattr(s3_writer, "PART", LEAST)


@pytest.fixture
def listed(seaweed, location):
    """The keys in the test's place of the bucket, and its unfinished multipart uploads."""

    def look() -> tuple[list[str], int]:
        client, prefix = seaweed.client(), location.prefix
        objects = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
        return [found["Key"].removeprefix(prefix) for found in objects], len(uploads)

    return look


class Row:
    """A session's row that remembers the checkpoints."""

    def __init__(self) -> None:
        self.states: list[dict] = []
        self.lengths: list[int] = []
        self.failure: Exception | None = None

    async def checkpoint(self, state, length):
        """Write it down, or fail."""
        if self.failure:
            raise self.failure
        self.states.append(as_row(state))
        self.lengths.append(length)


@pytest.fixture
def row() -> Row:
    """A row."""
    return Row()


# Parts and checkpoints


async def test_checkpoints(s3_store, small_parts, row):
    """The row follows with every part, in order, although parts are sent side by side."""
    key = new_key()
    writer = await s3_store.writer(key, {}, 1, row.checkpoint)
    await writer.write([b"a" * (3 * LEAST), b"b" * LEAST, b"c" * 7])
    state = await writer.settle(False)
    assert row.lengths == [LEAST * n for n in (1, 2, 3, 4)]
    assert Staged.parse(state).length == 4 * LEAST + 7


@pytest.mark.parametrize("number", range(4))
async def test_any_checkpoint_can_be_gone_on_from(s3_store, small_parts, row, number):
    """After a crash the next writer goes on from the last checkpoint the row has, whatever came behind it."""
    key, pieces = new_key(), [bytes([n]) * LEAST for n in range(4)]
    crashed = await s3_store.writer(key, {}, 1, row.checkpoint)
    await crashed.write([*pieces, b"lost"])
    await crashed.close()
    state = await stage(s3_store, key, b"new", state=row.states[number], fence=2)
    assert await s3_store.commit(key, await seal_of(s3_store, key, state), 3) == Committed(key, True)
    await holds(s3_store, key, b"".join(pieces[: number + 1]) + b"new")


async def seal_of(store, key, state):
    """The state, sealed by the request with fence 3."""
    return await stage(store, key, state=state, fence=3, last=True)


async def test_a_loser_cannot_spoil_a_part(s3_store, small_parts, row):
    """A writer that has lost and does not know sends its parts under other numbers than the one that goes on."""
    key = new_key()
    state = await stage(s3_store, key, b"a" * LEAST)
    loser = await s3_store.writer(key, state, 2, row.checkpoint)
    winner = await s3_store.writer(key, state, 3, row.checkpoint)
    await winner.write([b"w" * 2 * LEAST])
    sealed = as_row(await winner.settle(True))
    row.failure = Superseded()
    await outcomes([loser.write([b"l" * WINDOW * LEAST])])
    await loser.close()
    assert await s3_store.commit(key, sealed, 3) == Committed(key, True)
    await holds(s3_store, key, b"a" * LEAST + b"w" * 2 * LEAST)


async def test_a_loser_stops(s3_store, small_parts, row):
    """A writer whose checkpoint is refused sends at most WINDOW parts, and gets Superseded."""
    row.failure = Superseded()
    key = new_key()
    writer = await s3_store.writer(key, {}, 1, row.checkpoint)
    with pytest.raises(Superseded):
        await writer.write([b"x" * LEAST] * 3 * WINDOW)
    assert writer._number <= 1 + 2 * WINDOW
    with pytest.raises(Superseded):
        await writer.settle(False)
    await writer.close()


@pytest.mark.parametrize("size", [0, 1, LEAST - 1, LEAST, LEAST + 1, 2 * LEAST])
async def test_tails(s3_store, small_parts, listed, size):
    """However many bytes are left at the end of a request, the next goes on, and nothing is left beside the object."""
    key, expected, state = new_key(), b"", {}
    for fence in (1, 2, 3):
        more = bytes([fence]) * size
        state, expected = await stage(s3_store, key, more, state=state, fence=fence), expected + more
    state = await stage(s3_store, key, b"end", state=state, fence=4, last=True)
    made = await s3_store.commit(key, state, 4)
    await holds(s3_store, made.key, expected + b"end")
    assert not made.leftovers
    assert listed() == ([made.key], 0)


@pytest.mark.parametrize("size", [LEAST + 5, 5], ids=["part", "object"])
async def test_sealing_takes_nothing_away(s3_store, small_parts, size):
    """A crash between the seal and the row: the state of the row can still be gone on from, and sealed."""
    key, state = new_key(), {}
    for fence in (1, 2):
        state = await stage(s3_store, key, b"x" * size, state=state, fence=fence)
    await stage(s3_store, key, b"lost", state=state, fence=3, last=True)
    sealed = await stage(s3_store, key, b"end", state=state, fence=4, last=True)
    await holds(s3_store, (await s3_store.commit(key, sealed, 4)).key, b"x" * 2 * size + b"end")


async def test_the_end_sends_nothing_again(s3_store, small_parts, monkeypatch):
    """The tail of the last request with bytes is the last part already when an empty one ends the upload."""
    key = new_key()
    state = await stage(s3_store, key, b"x" * (LEAST + 5))

    async def refuse(*_):
        raise AssertionError

    for call in ("part", "put", "read"):
        monkeypatch.setattr(s3_store._bucket, call, refuse)
    sealed = await stage(s3_store, key, state=state, fence=2, last=True)
    assert await s3_store.commit(key, sealed, 2) == Committed(key)
    await holds(s3_store, key, b"x" * (LEAST + 5))


async def test_an_ending_that_cannot_be_sent(s3_store, small_parts, monkeypatch):
    """It is sent again at the end."""
    key, real = new_key(), s3_store._bucket.part

    async def failing(key, upload, number, pieces):
        if sum(map(len, pieces)) < LEAST:
            raise Unavailable("away")
        return await real(key, upload, number, pieces)

    monkeypatch.setattr(s3_store._bucket, "part", failing)
    state = await stage(s3_store, key, b"x" * (LEAST + 5))
    monkeypatch.setattr(s3_store._bucket, "part", real)
    sealed = await stage(s3_store, key, state=state, fence=2, last=True)
    await holds(s3_store, (await s3_store.commit(key, sealed, 2)).key, b"x" * (LEAST + 5))


async def test_small_chunks(s3_store, small_parts, listed):
    """Chunks far smaller than a part are written once, and read once when they make one."""
    key, chunk, state = new_key(), bytes(range(256)) * 4096, {}
    for fence in range(1, 8):
        state = await stage(s3_store, key, chunk, state=state, fence=fence)
    assert [size for _, size in Staged.parse(state).tail] == [MIB] * 2
    assert len(Staged.parse(state).parts) == 1
    await holds(s3_store, await commit(s3_store, key, state, 7), chunk * 7)
    assert listed()[1] == 0
    assert len(listed()[0]) == 1


async def test_less_than_a_part_is_put_once(s3_store, listed):
    """A blob that came in one request is in its final place when the request ends: the commit moves nothing."""
    key = new_key()
    state = await stage(s3_store, key, b"layer" * MIB)
    before = listed()
    assert before == ([f"{key}.1-1"], 0)
    sealed = await stage(s3_store, key, state=state, fence=2, last=True)
    assert await s3_store.commit(key, sealed, 2) == Committed(f"{key}.1-1")
    assert listed() == before


async def test_several_objects_become_one(s3_store, listed):
    """Chunks that are less than a part in all are put together once, at the end."""
    key, state = new_key(), {}
    for fence in (1, 2, 3):
        state = await stage(s3_store, key, b"%d," % fence, state=state, fence=fence)
    made = await commit(s3_store, key, state, 3)
    await holds(s3_store, made, b"1,2,3,")
    assert listed() == ([made], 0)


async def test_a_sealed_object_takes_no_more(s3_store):
    """Who comes after the end of an upload gets Superseded, whatever its fence."""
    state = await stage(s3_store, (key := new_key()), b"all", last=True)
    with pytest.raises(Superseded):
        await writer_of(s3_store, key, state, 5)


async def test_memory(location, threads, small_parts, listed):
    """When much is held in all, writers make objects of what they have, and parts of these later."""
    store = S3Store(Bucket(location, threads, 10), Memory(MIB, 4))
    await store.start()
    key, piece = new_key(), bytes(range(256)) * 8192
    writer = await writer_of(store, key, {}, 1)
    for _ in range(4):
        await writer.write([piece])
        assert writer._memory.held <= MIB
    state = as_row(await writer.settle(True))
    await holds(store, (await store.commit(key, state, 1)).key, piece * 4)
    assert listed() == ([key], 0)


async def test_nothing_is_held_after_a_failure(s3_store, small_parts, row):
    """What a writer holds is given back, whatever became of it."""
    row.failure = Unavailable("away")
    writer = await s3_store.writer(new_key(), {}, 1, row.checkpoint)
    await outcomes([writer.write([b"x" * 6 * LEAST])])
    await writer.close()
    assert s3_store._memory.held == 0
    assert s3_store._memory.senders.tokens == s3_store._memory.senders.limit


def test_part_sizes():
    """Parts are equal until so many would not do for a large blob; all numbers together hold 290 GiB."""
    assert {part_size(number) for number in range(1, GROWTH)} == {PART}
    assert part_size(LAST_NUMBER - 1) == 8 * PART
    assert sum(map(part_size, range(1, LAST_NUMBER + 1))) > 290 * 1024 * MIB


async def test_too_many_parts(s3_store, small_parts):
    """A blob beyond the protocol's last part is refused, and what was sent is not lost by it."""
    writer = await writer_of(s3_store, new_key(), Staged(upload="u", number=LAST_NUMBER + 1).to_state(), 1)
    with pytest.raises(SizeInvalid):
        await writer.write([b"x" * 17 * LEAST])
    await writer.close()


# The state


@pytest.mark.parametrize(
    "settled_by, settled, fence, skipped, contended",
    [
        (1, True, 2, 0, False),
        (1, True, 3, WINDOW, True),  # 2 claimed it and may be sending
        (1, False, 2, WINDOW, True),  # 1 may have crashed, or be sending
        (1, False, 4, 3 * WINDOW, True),
        (4, True, 4, 0, False),
    ],
)
def test_numbers_of_others_are_left_out(settled_by, settled, fence, skipped, contended):
    """A writer leaves out the numbers that each one before it may still send parts under."""
    staged = Staged(upload="u", number=10, fence=settled_by, settled=settled).claimed(fence)
    assert (staged.number, staged.contended, staged.settled) == (10 + skipped, contended, False)


def test_an_ending_is_good_for_the_next_only():
    """Once another writer may have sent something under its number, the tail is sent again."""
    staged = Staged(upload="u", number=10, ending=(10, "etag"), fence=1)
    assert staged.claimed(2).ending == (10, "etag")
    assert staged.claimed(3).ending is None
    assert replace(staged, settled=False).claimed(2).ending is None
    assert staged.with_part(10, "other", 5).ending is staged.with_object("key", 5).ending is None


def test_contention_is_remembered():
    """Once there may be leftovers, there may be until the end."""
    staged = replace(Staged(fence=1).claimed(3), settled=True).claimed(4)
    assert staged.contended


def test_state_round_trip():
    """What comes back from the row is what was written."""
    staged = Staged(9, "u", ((1, "e"), (5, "f")), 6, (("k", 3),), (6, "g"), ("s",), "o", 4, False, True)
    assert Staged.parse(as_row(staged.to_state())) == staged
    assert Staged.parse(as_row(Staged().to_state())) == Staged()
    assert Staged().to_state() == {}


# A server that fails


@pytest_twisted.async_yield_fixture
async def broken(location, threads, monkeypatch):
    """Makes a store over a server that gives these answers, after the one that the start gets."""
    servers = []

    async def make(*answers):
        server = Broken([OK, *answers])
        servers.append(server)
        store = S3Store(Bucket(replace(location, endpoint=server.endpoint), threads, 10), Memory(MIB, 4))
        await store.start()
        return store, server

    yield make
    for server in servers:
        server.close()


FAILURES = [
    ((500, "InternalError"), Unavailable, "object store fails: InternalError"),
    ((503, "SlowDown"), Unavailable, "object store fails: SlowDown"),
    ((403, "AccessDenied"), Refused, "refuses its credentials: AccessDenied"),
    ((507, "InsufficientStorage"), StoreFull, "object store is full"),
    ((400, "NoSuchBucket"), Unavailable, "object store fails: NoSuchBucket"),
]


@pytest.mark.parametrize("answer, error, message", FAILURES, ids=[code for (_, code), _, _ in FAILURES])
async def test_failures(broken, answer, error, message):
    """Each failure of the server is told as what it is; the server's own text is not."""
    store, _ = await broken(answer)
    with pytest.raises(error, match=message) as raised:
        await stage(store, new_key(), b"x")
    assert "s3cret" not in str(raised.value)
    assert error is StoreFull or int(raised.value.headers["Retry-After"]) > 0


async def test_every_call_tells(broken):
    """Whatever is asked of the server, its failure is told."""
    store, _ = await broken((403, "AccessDenied"))
    state = Staged(1, "upload", ((1, "etag"),), object="key").to_state()
    calls = (
        stage(store, new_key(), b"x" * PART),
        store.commit("key", state, 1),
        store.open(new_key(), 0, 1),
        store.open(new_key(), 0, 0),
        store.delete([new_key()]),
        store.abort(new_key(), None),
        store.check(),
    )
    for outcome in await outcomes(calls):
        assert isinstance(outcome, Refused)


async def test_answers_that_are_none_of_s3s(broken):
    """A 200 that does not say what S3 says is not taken for a success."""
    store, _ = await broken(OK)
    state = Staged(1, "upload", ((1, "etag"),), object="key").to_state()
    for work in (
        stage(store, new_key(), b"x" * PART),  # no UploadId
        store.commit("key", state, 1),  # no object of that size
        store.open(new_key(), 3, 2),  # a range that was ignored
    ):
        with pytest.raises((Unavailable, ObjectMissing)):
            await work


@pytest.mark.parametrize("answer", [(501, "NotImplemented"), (400, "MissingContentMD5")], ids=["none", "md5"])
async def test_servers_without_delete_objects(broken, answer):
    """Where several objects cannot be deleted at once, they are deleted one by one."""
    store, server = await broken(answer, OK)
    await store.delete(["a", "b"])
    methods = [line.split()[0] for line in server.asked]
    assert methods == ["HEAD", "POST", "DELETE", "DELETE"]


@pytest.mark.parametrize("answer", [(500, "InternalError"), (503, "SlowDown")], ids=["500", "503"])
async def test_what_passes_is_tried_again(broken, answer):
    """A server that fails twice and then works is no failure."""
    store, server = await broken(answer, answer, OK)
    await stage(store, new_key(), b"bytes")
    assert [line.split()[0] for line in server.asked] == ["HEAD", "PUT", "PUT", "PUT"]


async def test_leftovers_that_cannot_be_deleted_yet(s3_store, small_parts, monkeypatch):
    """They do not keep a commit from being one; it says that there are some."""
    key, state = new_key(), {}
    for fence in (1, 2):
        state = await stage(s3_store, key, b"%d" % fence, state=state, fence=fence)
    sealed = await stage(s3_store, key, state=state, fence=3, last=True)

    async def away(keys):
        raise Unavailable("away")

    monkeypatch.setattr(s3_store._bucket, "delete", away)
    made = await s3_store.commit(key, sealed, 3)
    assert made.leftovers
    await holds(s3_store, made.key, b"12")


async def test_an_abort_that_leaves_something(s3_store, monkeypatch):
    """It is told, so that it is done again later."""
    key = new_key()
    await stage(s3_store, key, b"bytes")
    monkeypatch.setattr(s3_store._bucket, "_delete", set)
    with pytest.raises(Unavailable, match="does not delete"):
        await s3_store.abort(key, None)


async def test_a_server_that_is_not_there(location, threads):
    """It is unavailable, with a time to try again."""
    store = S3Store(Bucket(replace(location, endpoint="http://127.0.0.1:9"), threads, 4), Memory(MIB, 4))
    with pytest.raises(Unavailable, match="does not answer") as raised:
        await store.start()
    assert raised.value.headers["Retry-After"]


async def test_refusals(location, threads, monkeypatch):
    """A bucket that is not there, wrong credentials and none are told apart at the start, without waiting."""
    absent = S3Store(Bucket(replace(location, bucket="absent"), threads, 4), Memory(MIB, 4))
    with pytest.raises(Refused, match="there is no bucket 'absent'"):
        await absent.start()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng")
    with pytest.raises(Refused, match="credentials") as raised:
        await S3Store(Bucket(location, threads, 4), Memory(MIB, 4)).start()
    assert "wr0ng" not in str(raised.value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(Refused, match="no credentials"):
        await S3Store(Bucket(location, threads, 4), Memory(MIB, 4)).start()


async def test_a_commit_whose_answer_was_lost(s3_store, small_parts):
    """An upload that is completed is not there any more, but its object is: that is no failure."""
    key = new_key()
    sealed = await stage(s3_store, key, b"a" * LEAST, b"end", last=True)
    first = await s3_store.commit(key, sealed, 1)
    await s3_store._bucket.delete_below(key, key)
    assert await s3_store.commit(key, sealed, 1) == first


@pytest.mark.parametrize("size", [3, LEAST + 3], ids=["object", "parts"])
async def test_a_commit_of_what_is_gone(s3_store, small_parts, size):
    """It is missed."""
    key = new_key()
    sealed = await stage(s3_store, key, b"a" * size, last=True)
    await s3_store.abort(key, None)
    with pytest.raises(ObjectMissing):
        await s3_store.commit(key, sealed, 1)


# Downloads


class Cut:
    """A connection to S3 that breaks after so many bytes."""

    def __init__(self, body, left: int) -> None:
        self._body = body
        self.left = left

    def read(self, size: int) -> bytes:
        """Bytes, or the break."""
        if self.left <= 0:
            raise ConnectionResetError
        self.left -= size
        return self._body.read(size)

    def close(self) -> None:
        """Close it."""
        self._body.close()


@pytest.fixture
def cut(s3_store, monkeypatch):
    """Break each connection after a while; a list of the ranges that were asked for."""
    asked, real = [], s3_store._bucket.open

    async def open_cut(key, start, length):
        asked.append((start, length))
        return Cut(await real(key, start, length), cut.after)

    monkeypatch.setattr(s3_store._bucket, "open", open_cut)
    cut.after = 2 * s3.READ
    return asked


async def test_a_download_goes_on(s3_store, cut):
    """A connection that breaks in the middle is made anew from there; the bytes are the object's."""
    data = bytes(range(256)) * 16_384
    key = await put(s3_store, data)
    assert await content(s3_store, key, 5, len(data) - 5) == data[5:]
    assert cut[:2] == [(5, len(data) - 5), (5 + 2 * s3.READ, len(data) - 5 - 2 * s3.READ)]


async def test_a_download_ends(s3_store, cut, monkeypatch):
    """A connection that breaks again and again without a byte is given up."""
    key = await put(s3_store, b"bytes")
    reader = await s3_store.open(key, 0, 5)
    reader._body.left = 0
    monkeypatch.setattr(s3_store._bucket, "open", always_broken)
    with pytest.raises(Unavailable):
        await reader.read()
    reader.close()


async def always_broken(key, start, length):
    """A connection without a byte."""
    return Cut(BytesIO(), 0)


async def test_closing_while_a_thread_reads(s3_store):
    """A reader that is closed while the next bytes are on their way lets the thread end first."""
    reader = await s3_store.open(await put(s3_store, bytes(4 * s3.READ)), 0, 4 * s3.READ)
    await reader.read()
    ahead = reader._ahead
    assert isinstance(ahead, Deferred)
    reader.close()
    await ahead
    assert reader._body is None
