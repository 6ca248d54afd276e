"""What a watched store tells."""

from __future__ import annotations

import pytest

from artifactapi.objects.interface import ObjectMissing, Superseded
from artifactapi.objects.observed import Observed
from tests.objects.contract import has_lost, new_key, writer_of


@pytest.fixture
def told() -> list[tuple[str, str, float]]:
    """What was told: operation, outcome, seconds."""
    return []


@pytest.fixture
def store(store, told: list[tuple[str, str, float]]) -> Observed:
    """The filesystem's store, watched."""
    return Observed(store, lambda *what: told.append(what))


async def test_each_operation_is_told(store, told):
    """Every operation that worked is told once, in its order, with its name and its seconds."""
    key = new_key()
    await store.check()
    writer = await writer_of(store, key, {}, 1)
    await writer.write([b"bytes"])
    state = await writer.settle(False)
    await writer.close()
    await store.commit(key, state, 1)
    (await store.open(key, 0, 5)).close()
    await store.delete([key])
    names = ["check", "begin", "write", "settle", "commit", "open", "delete"]
    assert [(operation, outcome) for operation, outcome, _ in told] == [(name, "ok") for name in names]
    assert all(seconds >= 0 for *_, seconds in told)


async def test_errors_are_told_and_passed_on(store, told):
    """An operation that failed is told with the name of its error, which its caller gets."""
    key = new_key()
    loser = await writer_of(store, key, {}, 1)
    await writer_of(store, key, {}, 2)
    await has_lost(loser)
    with pytest.raises(Superseded):
        await store.commit(key, {}, 1)
    with pytest.raises(ObjectMissing):
        await store.open(key, 0, 1)
    assert [(operation, outcome) for operation, outcome, _ in told] == [
        ("begin", "ok"),
        ("begin", "ok"),
        ("write", "Superseded"),
        ("commit", "Superseded"),
        ("open", "ObjectMissing"),
    ]
