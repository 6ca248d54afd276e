"""A replica that is slow, not dead: what it was about to do happens after another one has taken its session over."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.client import Client, digest_of
from tests.daemon import eventually
from tests.e2e.content import MIB, NAME
from tests.fleet import pushes
from tests.fleet.guarded import Attempt
from tests.fleet.pushes import PART
from tests.fleet.steps import BEGIN, COMMIT, COMPLETE, NAMES, PART_1, PART_2, PART_3, ROW, TAIL

SIZE = 2 * PART + MIB + 7
# What is late, and how far the session is by then.
WRITING = {
    ("s3", BEGIN, 1): 0,
    ("s3", PART_1, 1): 0,
    ("sql", ROW, 2): 0,
    ("s3", PART_2, 1): PART,
    ("s3", TAIL, 1): 2 * PART,
    ("s3", PART_3, 1): 2 * PART,
    ("sql", ROW, 4): 2 * PART,
}
ENDING = (("sql", ROW, 5), ("s3", COMPLETE, 1), ("sql", COMMIT, 1))


def name_of(step: tuple[str, str, int]) -> str:
    """For the test's id."""
    return f"{NAMES[step[1]]} {step[2]}"


@pytest.mark.parametrize("finished", [False, True], ids=["while it writes", "when it has finished"])
@pytest.mark.parametrize("step", WRITING, ids=name_of)
def test_a_write_that_comes_late(guarded, slow, survivor, step, finished):
    """Whatever a replica still does to a session that it has lost, the blob is what the other one made of it."""
    first = os.urandom(SIZE)
    hold = guarded.hold(*step, after=False)
    attempt = Attempt(lambda client: pushes.stream(client, first, digest_of(first)), slow)
    hold.wait()
    location, at = attempt.location, WRITING[step]
    eventually(lambda: pushes.offset(survivor, location) == at)
    content = first[:at] + os.urandom(SIZE - at)
    half = SIZE if finished else (at + SIZE) // 2
    assert pushes.patch(survivor, location, content[at:half], at).status == 202
    if finished:
        pushes.put(survivor, location, digest_of(content))
    hold.go_on()
    assert attempt.ended().statuses == [202, 409]
    if not finished:
        assert pushes.offset(survivor, location) == half
        pushes.put(survivor, location, digest_of(content), content[half:])
    check(slow, survivor, content)


def check(one: Client, other: Client, content: bytes) -> None:
    """Both give it."""
    for client in (one, other):
        pushes.check_blob(client, content, digest_of(content))


@pytest.mark.parametrize("step", ENDING, ids=name_of)
def test_an_end_that_comes_late(guarded, slow, survivor, step):
    """Two replicas finish one session: the first to do so is told 201, the other that it has lost it."""
    content = os.urandom(SIZE)
    hold = guarded.hold(*step, after=False)
    attempt = Attempt(lambda client: pushes.stream(client, content, digest_of(content)), slow)
    hold.wait()
    pushes.put(survivor, attempt.location, digest_of(content))
    hold.go_on()
    assert attempt.ended().statuses == [202, 202, 409]
    check(slow, survivor, content)


@pytest.mark.parametrize("step", [("s3", PART_2, 1), ("sql", COMMIT, 1)], ids=name_of)
def test_a_cancel_meanwhile(guarded, slow, survivor, fleet, step):
    """A session that is cancelled on the other replica stays cancelled; what still comes is not a blob."""
    content = os.urandom(SIZE)
    hold = guarded.hold(*step, after=False)
    attempt = Attempt(lambda client: pushes.whole(client, content, digest_of(content)), slow)
    hold.wait()
    assert survivor.send("DELETE", attempt.location).status == 204
    hold.go_on()
    assert attempt.ended().statuses[-1] in (404, 409)
    for client in (slow, survivor):
        assert client.send("GET", attempt.location).status == 404
        assert client.send("HEAD", f"/v2/{NAME}/blobs/{digest_of(content)}").status == 404


@pytest.mark.parametrize("way", [pushes.single, pushes.whole])
def test_the_same_blob_meanwhile(guarded, slow, survivor, fleet, way):
    """Two pushes of one blob end at the same time: both are told 201, and one object is left."""
    content = os.urandom(PART + 5)
    digest, before = digest_of(content), set(fleet.objects())
    hold = guarded.hold("sql", COMMIT, 1, after=False)
    attempt = Attempt(lambda client: way(client, content, digest), slow)
    hold.wait()
    way(survivor, content, digest)
    hold.go_on()
    assert attempt.ended().statuses[-1] == 201
    check(slow, survivor, content)
    assert len(set(fleet.objects()) - before) == 1


def test_two_writers(slow, survivor):
    """Two clients stream into one session on two replicas at once: one wins, and the blob is all its own."""
    for _ in range(3):
        location, start = pushes.start(slow), Barrier(2)
        contents = [os.urandom(2 * PART + MIB + n) for n in (0, 1)]

        def write(client: Client, content: bytes, location: str = location, start: Barrier = start) -> int:
            start.wait()
            return pushes.patch(client, location, content, 0).status

        with ThreadPoolExecutor(2) as pool:
            statuses = list(pool.map(write, (slow, survivor), contents))
        assert sorted(statuses) in ([202, 409], [202, 416])
        content = contents[statuses.index(202)]
        pushes.put(survivor, location, digest_of(content))
        check(slow, survivor, content)


def test_two_ends(slow, survivor):
    """Two clients finish one session on two replicas at once: one at least is told 201, and the blob is right."""
    for _ in range(3):
        content, location = os.urandom(PART + MIB), pushes.start(slow)
        digest = digest_of(content)
        assert pushes.patch(slow, location, content, 0).status == 202
        start = Barrier(2)

        def end(client: Client, location: str = location, digest: str = digest, start: Barrier = start) -> int:
            start.wait()
            return client.send("PUT", f"{location}?digest={digest}").status

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(end, (slow, survivor)))
        assert statuses[0] == 201
        assert statuses[1] in (404, 409)
        check(slow, survivor, content)
