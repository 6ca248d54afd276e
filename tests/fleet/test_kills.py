"""kill -9 of a replica at each step of a push; then another one goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.client import Client, digest_of
from tests.e2e.content import MIB, NAME, Content
from tests.fleet import pushes
from tests.fleet.guarded import Attempt, Guarded, Victims
from tests.fleet.pushes import PART
from tests.fleet.steps import (
    BEGIN,
    CLAIM,
    COMMIT,
    COMPLETE,
    DELETE,
    NAMES,
    PART_1,
    PART_2,
    PART_3,
    READ_TAIL,
    ROW,
    START,
    TAIL,
)

SIZE = 2 * PART + MIB + 7


@dataclass(frozen=True)
class Step:
    """Where a replica dies: at which request to what, and how many bytes its session may have after that."""

    at: tuple[str, str, int, str]
    offsets: tuple[int, ...] = ()
    done: bool = False

    def __str__(self) -> str:
        _, pattern, number, when = self.at
        return f"{when} {NAMES[pattern]} {number}"


NONE, ALL = (0,), (SIZE,)
STREAMED = (
    Step(("sql", START, 1, "after")),
    Step(("sql", CLAIM, 1, "after"), NONE),
    Step(("sql", ROW, 1, "after"), NONE),
    Step(("s3", BEGIN, 1, "after"), NONE),
    Step(("s3", PART_1, 1, "before"), NONE),
    Step(("sql", ROW, 2, "before"), NONE),
    Step(("sql", ROW, 2, "after"), (PART,)),
    Step(("s3", PART_2, 1, "before"), (0, PART)),
    Step(("s3", PART_2, 1, "after"), (0, PART)),
    Step(("sql", ROW, 3, "after"), (2 * PART,)),
    Step(("s3", TAIL, 1, "after"), (2 * PART,)),
    Step(("s3", PART_3, 1, "before"), (2 * PART,)),
    Step(("s3", PART_3, 1, "after"), (2 * PART,)),
    Step(("sql", ROW, 4, "after"), ALL),
    Step(("sql", CLAIM, 2, "after"), ALL),
    Step(("sql", ROW, 5, "before"), ALL),
    Step(("s3", COMPLETE, 1, "before"), ALL),
    Step(("s3", COMPLETE, 1, "after"), ALL),
    Step(("s3", DELETE, 1, "after"), ALL),
    Step(("sql", COMMIT, 1, "before"), ALL),
    Step(("sql", COMMIT, 1, "after"), done=True),
)
HALF = (SIZE // 2 + 1,)
IN_TWO = (
    Step(("s3", READ_TAIL, 1, "after"), HALF),
    Step(("s3", PART_2, 2, "after"), HALF),
    Step(("sql", ROW, 4, "after"), (2 * PART,)),
    Step(("s3", DELETE, 1, "before"), (2 * PART,)),
)
WHOLE = (
    Step(("s3", PART_2, 1, "before"), (0, PART)),
    Step(("sql", ROW, 3, "before"), (PART,)),
    Step(("s3", COMPLETE, 1, "after"), ALL),
    Step(("sql", COMMIT, 1, "after"), done=True),
)


@pytest.fixture(scope="module")
def acknowledged(survivor) -> Content:
    """An image that was pushed before anything died."""
    content = Content()
    content.push_image(survivor, "acknowledged", PART + MIB)
    return content


@pytest.fixture(autouse=True)
def what_was_acknowledged(survivor: Client, acknowledged: Content) -> Iterator[None]:
    """After every test it is there."""
    yield
    acknowledged.check(survivor)


def die(guarded: Guarded, victims: Victims, step: Step, push: Callable[[Any], None]) -> Attempt:
    """Let a replica die at a step of a push."""
    where, pattern, number, when = step.at
    victim, client = victims.take()
    hold = guarded.hold(where, pattern, number, when == "after")
    attempt = Attempt(push, client)
    hold.wait()
    victims.prepare()
    victim.kill()
    hold.cut()
    return attempt.ended()


def check_absent(client: Client, digest: str) -> None:
    """Nothing of the blob can be seen."""
    for method in ("HEAD", "GET"):
        assert client.send(method, f"/v2/{NAME}/blobs/{digest}").status == 404


def go_on(client: Client, location: str, content: bytes, digest: str) -> int:
    """What a client does that got no answer: ask, send the rest, finish. Returns where it went on."""
    at = pushes.offset(client, location)
    assert pushes.patch(client, location, content[at:], at).status == 202 if content[at:] else True
    pushes.put(client, location, digest)
    return at


@pytest.mark.parametrize("step", STREAMED, ids=str)
def test_a_stream(guarded, victims, survivor, fleet, step):
    """POST, PATCH, PUT: wherever the replica dies, nothing is half visible, and the other goes on from its status."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    attempt = die(guarded, victims, step, lambda client: pushes.stream(client, content, digest))
    assert 201 not in attempt.statuses
    fleet.check_balance()
    if step.done:
        assert survivor.send("GET", attempt.location).status == 404, "the session is over"
    else:
        check_absent(survivor, digest)
        location = attempt.location or pushes.start(survivor)
        assert go_on(survivor, location, content, digest) in (step.offsets or (0,))
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("step", IN_TWO, ids=str)
def test_a_half_in_the_put(guarded, victims, survivor, fleet, step):
    """POST, PATCH, PUT with the rest: what was a tail is part of a part, or a tail still."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    attempt = die(guarded, victims, step, lambda client: pushes.rest_in_put(client, content, digest))
    assert attempt.statuses == [202, 202]
    fleet.check_balance()
    check_absent(survivor, digest)
    assert go_on(survivor, attempt.location, content, digest) in step.offsets
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("step", WHOLE, ids=str)
def test_all_in_the_put(guarded, victims, survivor, fleet, step):
    """POST, PUT: the session knows what is durable, and the rest follows."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    attempt = die(guarded, victims, step, lambda client: pushes.whole(client, content, digest))
    assert attempt.statuses == [202]
    fleet.check_balance()
    if not step.done:
        check_absent(survivor, digest)
        assert go_on(survivor, attempt.location, content, digest) in step.offsets
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("step", WHOLE[1:], ids=str)
def test_all_in_the_post(guarded, victims, survivor, fleet, step):
    """One POST: the client has no session to go on with, and begins again, perhaps with what is there already."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    attempt = die(guarded, victims, step, lambda client: pushes.single(client, content, digest))
    assert attempt.statuses == []
    fleet.check_balance()
    if not step.done:
        check_absent(survivor, digest)
    pushes.single(survivor, content, digest)
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_row(guarded, victims, survivor, fleet, when):
    """A small blob is there when its statement was done, and not before."""
    content = os.urandom(1000)
    digest = digest_of(content)
    step = Step(("sql", COMMIT, 1, when))
    attempt = die(guarded, victims, step, lambda client: pushes.stream(client, content, digest))
    assert attempt.statuses == [202, 202]
    fleet.check_balance()
    if when == "before":
        check_absent(survivor, digest)
        assert go_on(survivor, attempt.location, content, digest) == len(content)
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("pattern", ["INSERT INTO tags", "^COMMIT"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_manifest(guarded, victims, survivor, pattern, when):
    """A manifest and its tag are there together, when their transaction is done, and not before."""
    content, tag = Content(), f"tag-{os.urandom(4).hex()}"
    first = content.push_image(survivor, tag, 1000)
    victim = Content()
    step = Step(("sql", pattern, 1, when))
    attempt = die(guarded, victims, step, lambda client: victim.push_image(client, tag, 1000))
    assert attempt.statuses == [201, 201, 201]
    done = (pattern, when) == ("^COMMIT", "after")
    answer = survivor.send("GET", f"/v2/{NAME}/manifests/{tag}")
    assert (answer.headers["Docker-Content-Digest"] == first) is not done
    victim.check(survivor)
    assert survivor.send("GET", f"/v2/{NAME}/manifests/{digest_of(answer.body)}").body == answer.body
    content.push_image(survivor, tag, 1000)
    content.check(survivor)


def test_a_cancel(guarded, victims, survivor, fleet):
    """A cancel whose replica dies before it could delete the bytes has left them to the outbox."""
    content = os.urandom(PART + MIB)
    location = pushes.start(survivor)
    assert survivor.send("PATCH", location, pushes.pieces(content)).status == 202
    [(key,)] = fleet.query("SELECT object_key FROM upload_sessions WHERE id = %s", location.rpartition("/")[2])
    step = Step(("s3", r"GET .*[?&]uploads", 1, "before"))
    die(guarded, victims, step, lambda client: client.send("DELETE", location))
    assert survivor.send("GET", location).status == 404
    assert key in fleet.multiparts()
    assert key in fleet.rows().aborted


@pytest.mark.parametrize("replica", ["survivor", "started again"])
def test_a_chunk(guarded, victims, survivor, fleet, replica):
    """A chunk that was acknowledged is never asked for again, wherever its replica died in the next one."""
    content = os.urandom(2 * PART + 5)
    digest, at = digest_of(content), PART + MIB
    location = pushes.start(survivor)
    assert pushes.patch(survivor, location, content[:at], 0).status == 202
    step = Step(("s3", PART_2, 1, "before"))
    die(guarded, victims, step, lambda client: pushes.patch(client, location, content[at:], at))
    client = survivor if replica == "survivor" else victims.take()[1]
    assert go_on(client, location, content, digest) == at
    pushes.check_blob(client, content, digest)
