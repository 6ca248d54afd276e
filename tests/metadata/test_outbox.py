"""Rows of the outbox."""

from __future__ import annotations

from artifactapi.metadata import outbox


async def test_due(database, onlooker):
    """What is due comes oldest first, so many at a time; what is not yet due does not come."""
    onlooker.rows(
        "INSERT INTO doomed_objects (key, after)"
        " SELECT 'k' || n, now() - make_interval(secs => n) FROM generate_series(-2, 5) n WHERE n <> 0"
    )
    assert await outbox.due(database, 3) == ["k5", "k4", "k3"]
    assert await outbox.due(database, 100) == ["k5", "k4", "k3", "k2", "k1"]


async def test_done(database, onlooker):
    """What is gone is forgotten, also if it was forgotten already."""
    onlooker.rows("INSERT INTO doomed_objects (key, after) VALUES ('a', now()), ('b', now()), ('c', now())")
    for _ in range(2):
        await outbox.done(database, ["a", "c", "never there"])
        assert await outbox.due(database, 100) == ["b"]
    await outbox.done(database, [])


async def test_not_at_once(database, onlooker):
    """An object is not due at once: a request that lost its session may still begin it."""
    onlooker.rows("INSERT INTO doomed_objects (key) VALUES ('a')")
    assert await outbox.due(database, 100) == []
    assert onlooker.value("SELECT after < now() + interval '1 hour' FROM doomed_objects")
