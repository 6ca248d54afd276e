"""A replica that dies, or loses its link to Postgres, at each step of a fetch; then another one goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fleet.cold import Cold
from tests.fleet.fleet import CHECKED
from tests.fleet.proxy import cut_after, cut_before
from tests.fleet.steps import CLAIM, COMMIT, COMPLETE, NAMES, PART_2, ROW, START
from tests.fleet.test_fills import is_right, persistent
from tests.remote.pulls import pull


@pytest.fixture
def cold(survivor, scripted) -> Cold:
    """One in a remote repo."""
    return Cold(survivor, scripted)


@pytest.fixture(scope="module", autouse=True)
def nothing_left(fleet):
    """In the end nothing is left of the fetching but sessions that hold no byte, and leases that the collector takes
    with time; a check finds nothing wrong."""
    yield
    assert fleet.query("SELECT 1 FROM upload_sessions WHERE image = 'cold' AND store_state IS NOT NULL") == []
    fleet.query("UPDATE fills SET lease_until = lease_until - interval '2 hours'")
    fleet.collect(fleet.tool())
    assert fleet.query("SELECT 1 FROM fills") == []
    assert fleet.tool().events("fsck") == CHECKED


STEPS = [
    ("sql", START, 1, "after"),
    ("sql", ROW, 2, "after"),
    ("s3", PART_2, 1, "after"),
    ("s3", COMPLETE, 1, "after"),
    ("sql", COMMIT, 1, "before"),
    ("sql", COMMIT, 1, "after"),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[3]} {NAMES[step[1]]}")
def test_kill(guarded, victims, survivor, fleet, cold, step):
    """Wherever the replica dies, what it has sent is right, and whoever waits at another one gets all of it."""
    where, pattern, number, when = step
    victim, client = victims.take()
    hold = guarded.hold(where, pattern, number, when == "after")
    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(pull, client, cold.path)
        hold.wait()
        waiting = pool.submit(pull, survivor, cold.path)
        victims.prepare()
        victim.kill()
        fleet.query("UPDATE fills SET lease_until = now()")
        hold.cut()
        is_right(leading.result(), cold.content)
        assert is_right(waiting.result(), cold.content)


@pytest.mark.parametrize(
    "pattern, cut",
    [
        (CLAIM, cut_after),
        (ROW, cut_before),
        (ROW, cut_after),
        (COMMIT, cut_before),
        (COMMIT, cut_after),
    ],
    ids=lambda value: NAMES.get(value, getattr(value, "__name__", None)),
)
def test_a_statement_that_is_lost(guarded, slow, survivor, cold, pattern, cut):
    """A pull whose statement was lost is refused or cut at most, and tried again it is right."""
    guarded.sql.rule(pattern, cut)
    for client in (slow, survivor):
        assert persistent(client, cold.path, cold.content)
