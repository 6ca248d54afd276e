"""What is the filesystem's alone: full and broken disks, crashes between two steps, durability, descriptors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artifactapi.objects import filesystem
from artifactapi.objects.files import WRITEBACK, os_errors
from artifactapi.objects.filesystem import FilesystemStore
from artifactapi.objects.interface import ObjectMissing, Superseded
from artifactapi.oci.errors import StoreFull, Unavailable
from tests.objects.contract import has_lost, holds, is_missing, new_key, put, stage, writer_of

LIMIT = 1024 * 1024


def files(directory: Path) -> list[Path]:
    """All that is in the store, directories of keys excepted."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def staged(tmp_path: Path, key: str) -> list[Path]:
    """The files, and the directory, of an unfinished object."""
    return sorted((tmp_path / "store" / "staging").glob(f"{key.rpartition('/')[2]}/*"))


@pytest.fixture
def neighbour(tmp_path: Path, store, threads) -> FilesystemStore:
    """Another process's store over the same directory: it shares nothing but files."""
    return FilesystemStore(tmp_path / "store", threads)


async def test_full_while_writing(store, disk_limit):
    """A write that no longer fits is StoreFull, 507; once there is room the upload goes on from what was settled."""
    key = new_key()
    state = await stage(store, key, b"a" * 1000)
    writer = await writer_of(store, key, state, 2)
    with disk_limit(LIMIT), pytest.raises(StoreFull) as full:
        await writer.write([b"b" * 900_000, b"c" * 900_000])
    await writer.close()
    assert full.value.status == 507
    await store.commit(key, await stage(store, key, b"d" * 2 * LIMIT, state=state, fence=3), 3)
    await holds(store, key, b"a" * 1000 + b"d" * 2 * LIMIT)


async def test_no_space_left(store):
    """ENOSPC, as /dev/full gives it, is StoreFull."""
    writer = await writer_of(store, new_key(), {}, 1)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._descriptor)
    os.close(full)
    with pytest.raises(StoreFull):
        await writer.write([b"bytes"])
    await writer.close()


@pytest.mark.parametrize(
    "number, error",
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EFBIG, StoreFull),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
        (errno.EMFILE, Unavailable),
    ],
)
def test_errors_of_the_system(number, error):
    """A full disk is told from a broken one, and what a client reads names no file."""
    with pytest.raises(error) as told, os_errors():
        raise OSError(number, os.strerror(number), "/a/secret/path")
    assert "secret" not in str(told.value)
    assert told.value.__cause__.errno == number


async def test_broken_staging(store, tmp_path, broken):
    """A directory that takes no files makes writes and the check Unavailable, 503; it names no path, and it passes."""
    key = new_key()
    with broken(tmp_path / "store" / "staging"):
        for attempt in (writer_of(store, key, {}, 1), store.check(), store.commit(key, {}, 1)):
            with pytest.raises(Unavailable) as told:
                await attempt
            assert told.value.status == 503
            assert str(tmp_path) not in str(told.value)
    await store.check()
    await store.commit(key, await stage(store, key, b"bytes"), 1)
    await holds(store, key, b"bytes")


async def test_broken_objects(store, tmp_path, broken):
    """A commit that cannot rename is Unavailable; it is repeated when the directory is back, and nothing is lost."""
    key = new_key()
    state = await stage(store, key, b"bytes")
    with broken(tmp_path / "store"), pytest.raises(Unavailable):
        await store.commit(key, state, 1)
    await store.commit(key, state, 1)
    await holds(store, key, b"bytes")


async def test_cannot_start(tmp_path, threads):
    """A store whose directory cannot be made says so."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="the registry's storage fails"):
        await FilesystemStore(tmp_path / "file" / "store", threads).start()


async def test_check_leaves_nothing(store, tmp_path):
    """A check of the store is gone when it is over."""
    await store.check()
    assert files(tmp_path / "store") == []


async def test_short_writes(store, monkeypatch):
    """A system call that takes only some of the bytes is followed by others until all are written."""
    real_v, real = os.pwritev, os.pwrite
    monkeypatch.setattr(filesystem.os, "pwritev", lambda f, pieces, at: real_v(f, [b"".join(pieces)[:7]], at))
    monkeypatch.setattr(filesystem.os, "pwrite", lambda f, data, at: real(f, data[:1000], at))
    pieces = [b"%4d" % n for n in range(1500)]
    key = await put(store, *pieces)
    monkeypatch.undo()
    await holds(store, key, b"".join(pieces))


async def test_writes_beyond_what_the_kernel_keeps(store):
    """A writer that hands pages over to the kernel while it goes on loses none of them."""
    key = new_key()
    writer = await writer_of(store, key, {}, 1)
    for n in range(5):
        await writer.write([bytes([n]) * (WRITEBACK // 4 + 1)] * 2)
    await store.commit(key, await writer.settle(False), 1)
    await holds(store, key, b"".join(bytes([n]) * (WRITEBACK // 4 + 1) * 2 for n in range(5)))


async def test_two_processes(store, neighbour):
    """Another process takes an upload over and commits it: the first one's writer learns it at its next write."""
    key = new_key()
    state = await stage(store, key, b"one,")
    loser = await writer_of(store, key, state, 2)
    await loser.write([b"lost"])
    state = await stage(neighbour, key, b"two", state=state, fence=3)
    await has_lost(loser)
    await neighbour.commit(key, state, 3)
    with pytest.raises(Superseded):
        await writer_of(store, key, state, 2)
    await holds(store, key, b"one,two")


async def test_commit_leaves_nothing_staged(store, tmp_path):
    """After a commit there is one file, and not even an empty directory beside it."""
    key = await put(store, b"bytes")
    assert files(tmp_path / "store") == [tmp_path / "store" / "objects" / key]
    assert list((tmp_path / "store" / "staging").iterdir()) == []


async def test_abort_leaves_nothing_staged(store, tmp_path):
    """After an abort neither files nor directories of the key are left."""
    key = new_key()
    await stage(store, key, b"bytes")
    await store.abort(key, None)
    assert list((tmp_path / "store" / "staging").iterdir()) == []


async def test_commit_after_a_crash_behind_the_rename(store, neighbour, tmp_path, monkeypatch):
    """A commit that died after its rename is done again: what it left staged goes, and the name is made durable."""
    key = new_key()
    state = await stage(store, key, b"bytes")
    final = tmp_path / "store" / "objects" / key
    with monkeypatch.context() as crash:
        crash.setattr(filesystem, "fsync_directory", lambda path: died_if(final.exists()))
        with pytest.raises(KeyboardInterrupt):
            store._commit(key, state, 1)
    assert final.exists()
    synced = synced_names(monkeypatch)
    await neighbour.commit(key, state, 2)
    assert synced == [("fsync", final.parent)]
    assert list((tmp_path / "store" / "staging").iterdir()) == []
    await holds(neighbour, key, b"bytes")


def died_if(now: bool) -> None:
    """What kill -9 looks like to the one who is killed: nothing after it runs."""
    if now:
        raise KeyboardInterrupt


def synced_names(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """From now on the list grows by ("fsync", what) and ("rename", to) in the order in which they happen."""
    happened: list[tuple[str, Path]] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        happened.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    def renamed(path: Path, to: Path) -> Path:
        happened.append(("rename", to))
        return rename(path, to)

    monkeypatch.setattr(filesystem.os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return happened


async def test_settled_is_durable(store, tmp_path, monkeypatch):
    """Settling syncs the bytes, then the name they have; each directory made on the way is synced by its parent."""
    happened = synced_names(monkeypatch)
    key = new_key()
    await stage(store, key, b"bytes")
    [path] = staged(tmp_path, key)
    assert happened == [("fsync", path.parents[1]), ("fsync", path), ("fsync", path.parent)]


async def test_committed_is_durable(store, tmp_path, monkeypatch):
    """A commit syncs the bytes before it renames them, and the new name before it returns."""
    key = new_key()
    state = await stage(store, key, b"bytes")
    [path], final = staged(tmp_path, key), tmp_path / "store" / "objects" / key
    happened = synced_names(monkeypatch)
    await store.commit(key, state, 2)
    assert happened == [
        ("rename", path.with_name(f"{2:020d}")),
        ("fsync", path.with_name(f"{2:020d}")),
        ("fsync", final.parents[2]),
        ("fsync", final.parents[1]),
        ("rename", final),
        ("fsync", final.parent),
    ]


async def test_shorter_than_its_row(store, tmp_path):
    """Staged bytes that a broken disk has cut short are missed, not filled up with zeros."""
    key = new_key()
    state = await stage(store, key, b"bytes")
    os.truncate(staged(tmp_path, key)[0], 3)
    for late in (writer_of(store, key, state, 2), store.commit(key, state, 3)):
        with pytest.raises(ObjectMissing):
            await late
    await is_missing(store, key)


async def test_late_writer_behind_a_commit(store, neighbour, tmp_path, monkeypatch):
    """A writer that looked before a commit and begins after it is superseded, and leaves no file that nobody names."""
    key = new_key()
    in_between(monkeypatch, lambda: neighbour._commit(key, {}, 2))
    with pytest.raises(Superseded):
        await writer_of(store, key, {}, 1)
    assert files(tmp_path / "store") == [tmp_path / "store" / "objects" / key]


async def test_delete_behind_a_late_writer(store, neighbour, tmp_path, monkeypatch):
    """A delete that meets a writer which is just beginning takes no harm, nor does the writer."""
    key = new_key()
    in_between(monkeypatch, lambda: neighbour._delete([key]))
    writer = await writer_of(store, key, {}, 1)
    await writer.write([b"bytes"])
    await writer.close()
    assert len(staged(tmp_path, key)) == 1


def in_between(monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Do something after a new staged file's directory was made, and before the file is: once."""
    make = filesystem.make_directory

    def once(path: Path) -> None:
        make(path)
        if path.parent.name == "staging":
            monkeypatch.setattr(filesystem, "make_directory", make)
            act()

    monkeypatch.setattr(filesystem, "make_directory", once)


async def test_readers_outlive_a_delete(store):
    """A download that runs goes on to its end although the object is deleted meanwhile."""
    key = await put(store, b"x" * 600_000)
    reader = await store.open(key, 0, 600_000)
    await store.delete([key])
    got = b""
    while piece := await reader.read():
        got += piece
    reader.close()
    assert got == b"x" * 600_000


async def test_reader_for_sendfile(store):
    """A reader shows the descriptor and the place from which sendfile may go, until it is closed."""
    reader = await store.open(await put(store, b"0123456789"), 3, 4)
    assert os.pread(reader.descriptor, reader.length, reader.start) == b"3456"
    reader.close()
    assert reader.descriptor is None
    assert await reader.read() == b""


async def test_cut_short_under_a_reader(store, tmp_path):
    """An object that a broken disk has cut short ends early: a reader neither hangs nor invents bytes."""
    key = await put(store, b"0123456789")
    reader = await store.open(key, 0, 10)
    os.truncate(tmp_path / "store" / "objects" / key, 4)
    assert [await reader.read(), await reader.read()] == [b"0123", b""]
    reader.close()
