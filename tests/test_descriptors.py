"""How many connections the file descriptors suffice for."""

from __future__ import annotations

import resource

import pytest

from artifactapi.descriptors import EACH, RESERVED, make_room


class Limit:
    """A process' limit of file descriptors, as the kernel keeps it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def get(self, which: int) -> tuple[int, int]:
        """getrlimit()."""
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def set(self, which: int, limits: tuple[int, int]) -> None:
        """setrlimit()."""
        assert which == resource.RLIMIT_NOFILE
        assert limits[0] <= limits[1] <= self.now[1], "only root may do that"
        self.now = limits


@pytest.mark.parametrize(
    "soft, hard, wanted, room, after",
    [
        (1024, 1 << 20, 10_000, 10_000, RESERVED + EACH * 10_000),
        (1 << 16, 1 << 20, 10_000, 10_000, 1 << 16),
        (1024, 4096, 10_000, (4096 - RESERVED) // EACH, 4096),
        (4096, 4096, 10_000, (4096 - RESERVED) // EACH, 4096),
        (1024, 4096, 0, (4096 - RESERVED) // EACH, 4096),
        (1024, 4096, 5, 5, 1024),
        (64, 64, 5, 1, 64),
    ],
)
def test_room(monkeypatch, soft: int, hard: int, wanted: int, room: int, after: int):
    """The soft limit follows what is wanted as far as it may, never down; what there is bounds the connections."""
    limit = Limit(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    assert make_room(wanted) == room
    assert limit.now == (after, hard)
