"""Rows of the outbox."""

from __future__ import annotations

from artifactapi.metadata import outbox
from artifactapi.metadata.outbox import Doomed


async def keys(database, count):
    """The keys that are due."""
    return [doomed.key for doomed in await outbox.due(database, count)]


async def test_due(database, onlooker):
    """What is due comes oldest first, so many at a time; what is not yet due does not come."""
    onlooker.rows(
        "INSERT INTO doomed_objects (key, after)"
        " SELECT 'k' || n, now() - make_interval(secs => n) FROM generate_series(-2, 5) n WHERE n <> 0"
    )
    assert await keys(database, 3) == ["k5", "k4", "k3"]
    assert await keys(database, 100) == ["k5", "k4", "k3", "k2", "k1"]


async def test_what_is_due(database, onlooker):
    """A committed object and what was staged for one are told apart, and what must stay of the latter is said."""
    onlooker.rows(
        "INSERT INTO doomed_objects (key, store_state, keep, after) VALUES"
        " ('a', NULL, NULL, now()), ('b', '{}', NULL, now() + '1 us'), ('c', '{\"length\": 1}', 'd', now() + '2 us')"
    )
    assert await outbox.due(database, 100) == [
        Doomed("a", False, None),
        Doomed("b", True, None),
        Doomed("c", True, "d"),
    ]


async def test_done(database, onlooker):
    """What is gone is forgotten, also if it was forgotten already."""
    onlooker.rows("INSERT INTO doomed_objects (key, after) VALUES ('a', now()), ('b', now()), ('c', now())")
    for _ in range(2):
        await outbox.done(database, [Doomed(key, False, None) for key in ("a", "c", "never there")])
        assert await keys(database, 100) == ["b"]
    await outbox.done(database, [])


async def test_done_with_less_than_it_is_now(database, onlooker):
    """What was kept when an upload's rest went, and is not any more, is still to go."""
    onlooker.rows("INSERT INTO doomed_objects (key, store_state, keep, after) VALUES ('a', '{}', 'a', now())")
    seen = await outbox.due(database, 1)
    onlooker.rows("UPDATE doomed_objects SET keep = NULL")
    await outbox.done(database, seen)
    assert await keys(database, 1) == ["a"]
    await outbox.done(database, await outbox.due(database, 1))
    assert await keys(database, 1) == []


async def test_not_at_once(database, onlooker):
    """An object is not due at once: a request that lost its session may still begin it."""
    onlooker.rows("INSERT INTO doomed_objects (key) VALUES ('a')")
    assert await outbox.due(database, 100) == []
    assert onlooker.value("SELECT after < now() + interval '1 hour' FROM doomed_objects")
