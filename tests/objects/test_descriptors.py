"""No story of an object leaves a file open."""

from __future__ import annotations

import os

import pytest

from artifactapi.objects.interface import ObjectMissing, Superseded
from tests.objects.contract import has_lost, is_missing, new_key, put, stage, writer_of


async def leave(store) -> None:
    """A writer, closed before it settled."""
    writer = await writer_of(store, new_key(), {}, 1)
    await writer.write([b"bytes"])
    await writer.close()


async def lose(store) -> None:
    """A writer that is superseded, and one that comes too late."""
    key = new_key()
    loser = await writer_of(store, key, {}, 1)
    await stage(store, key, b"bytes", fence=3)
    await has_lost(loser)
    with pytest.raises(Superseded):
        await writer_of(store, key, {}, 2)
    with pytest.raises(Superseded):
        await store.commit(key, {}, 2)


async def miss(store) -> None:
    """Objects that are not there, or too short."""
    await is_missing(store, new_key())
    key = new_key()
    await stage(store, key, b"short")
    for late in (writer_of(store, key, {"length": 99}, 2), store.commit(key, {"length": 99}, 3)):
        with pytest.raises(ObjectMissing):
            await late


async def come_late(store) -> None:
    """A commit, and a writer after it."""
    key = await put(store, b"bytes")
    with pytest.raises(Superseded):
        await writer_of(store, key, {}, 2)
    await store.commit(key, {}, 1)
    await store.delete([key])


async def read_half(store) -> None:
    """A download that is given up."""
    reader = await store.open(await put(store, b"bytes"), 0, 5)
    reader.close()


@pytest.mark.parametrize("story", [put, leave, lose, miss, come_late, read_half])
async def test_no_descriptor_leaks(store, story):
    """Whatever happens to an object, no file stays open after it."""
    await story(store)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await story(store)
    assert sorted(os.listdir("/proc/self/fd")) == before
