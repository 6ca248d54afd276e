"""Room for so many at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from artifactapi.registry.room import Room


def entering(room: Room, count: int) -> list[Deferred[None]]:
    """So many who want to enter."""
    return [Deferred.fromCoroutine(room.enter()) for _ in range(count)]


def inside(waiting: list[Deferred[None]]) -> list[bool]:
    """Which of them are."""
    return [one.called for one in waiting]


def test_turns():
    """Who finds no room is let in when another one leaves, the first one first."""
    room = Room(2)
    found = entering(room, 4)
    assert (inside(found), room.is_full) == ([True, True, False, False], True)
    room.leave()
    assert (inside(found), room.is_full) == ([True, True, True, False], True)
    for _ in range(3):
        room.leave()
    assert (inside(found), room.is_full) == ([True] * 4, False)
    assert inside(entering(room, 3)) == [True, True, False]


def test_open():
    """All who wait are let in at once."""
    room = Room(1)
    found = entering(room, 3)
    room.open()
    assert inside(found) == [True] * 3
