"""A request to Postgres or S3 that a replica believed lost and sent again; and then the first one arrives."""

from __future__ import annotations

import os

import pytest

from tests.client import digest_of
from tests.daemon import eventually
from tests.e2e.content import MIB, NAME
from tests.fleet import pushes
from tests.fleet.guarded import Attempt
from tests.fleet.pushes import PART, Retrying
from tests.fleet.steps import BEGIN, CLAIM, COMMIT, COMPLETE, PART_1, PART_2, PART_3, ROW, START, TAIL

SIZE = 2 * PART + MIB + 7


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_row_never_goes_back(guarded, slow, survivor, number):
    """A row's update that arrives after later ones changes nothing: the session stays where it is."""
    content, location = os.urandom(SIZE), pushes.start(slow)
    hold = guarded.sql.hold(ROW, number)
    attempt = Attempt(lambda client: pushes.patch(client, location, content, 0), slow)
    hold.wait()
    hold.hang_up()
    assert attempt.ended().statuses == [202]
    hold.go_on()
    assert pushes.offset(survivor, location) == SIZE
    pushes.put(survivor, location, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


def test_a_row_of_a_session_that_goes_on(guarded, slow, survivor):
    """Nor when it arrives while the same request writes on."""
    content, location = os.urandom(SIZE), pushes.start(slow)
    first, next_one = guarded.sql.hold(ROW, 2), guarded.s3.hold(r"PUT .*partNumber=2\b")
    attempt = Attempt(lambda client: pushes.patch(client, location, content, 0), slow)
    first.wait()
    next_one.wait()
    first.hang_up()
    eventually(lambda: pushes.offset(survivor, location) == PART)
    first.go_on()
    next_one.go_on()
    assert attempt.ended().statuses == [202]
    pushes.put(survivor, location, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


@pytest.mark.parametrize("kind, status", [("chunk", 202), ("stream", 409)])
def test_a_claim(guarded, slow, survivor, kind, status):
    """A claim that was believed lost and comes late finds that its chunk's place is passed; a stream has no place, and
    takes the session from its own client, who goes on from the status."""
    content, location = os.urandom(SIZE), pushes.start(slow)

    def write(client: Attempt) -> None:
        if kind == "chunk":
            pushes.patch(client, location, content, 0)
        else:
            client.send("PATCH", location, pushes.pieces(content))

    claim = guarded.sql.hold(CLAIM)
    attempt = Attempt(write, slow)
    claim.wait()
    claim.hang_up()
    assert attempt.ended().statuses == [503]
    part = guarded.s3.hold(r"PUT .*partNumber=2\b")
    attempt = Attempt(write, slow)
    part.wait()
    eventually(lambda: pushes.offset(survivor, location) == PART)
    claim.go_on()
    part.go_on()
    assert attempt.ended().statuses == [status]
    at = pushes.offset(survivor, location)
    pushes.put(survivor, location, digest_of(content), content[at:])
    pushes.check_blob(survivor, content, digest_of(content))


@pytest.mark.parametrize("size", [1000, SIZE], ids=["row", "parts"])
def test_the_end(guarded, slow, survivor, size):
    """An upload that was ended by the second try is not ended again by the first."""
    content = os.urandom(size)
    digest = digest_of(content)
    location = pushes.start(slow)
    assert pushes.patch(slow, location, content, 0).status == 202
    hold = guarded.sql.hold(COMMIT)
    client = Retrying(slow)
    attempt = Attempt(lambda _: pushes.put(client, location, digest), slow)
    hold.wait()
    hold.hang_up()
    attempt.ended()
    assert (attempt.error, client.refused) == (None, 1)
    hold.go_on()
    pushes.check_blob(survivor, content, digest)


def test_a_start(guarded, slow, fleet):
    """A session that nobody was told of is a row without bytes."""
    hold = guarded.sql.hold(START)
    attempt = Attempt(lambda client: client.send("POST", pushes.UPLOADS), slow)
    hold.wait()
    hold.hang_up()
    assert attempt.ended().statuses == [503]
    hold.go_on()
    assert fleet.query("SELECT content FROM upload_sessions WHERE fence = 0 AND store_state IS NULL") != []


@pytest.mark.parametrize("pattern", [BEGIN, PART_1, PART_2, PART_3, COMPLETE, TAIL])
def test_a_request_to_s3(guarded, slow, survivor, pattern):
    """What S3 does late, and for the second time, harms no blob."""
    content = os.urandom(SIZE)
    hold = guarded.s3.hold(pattern)
    attempt = Attempt(lambda client: pushes.stream(client, content, digest_of(content)), slow)
    hold.wait()
    hold.hang_up()
    assert attempt.ended().statuses == [202, 202, 201]
    hold.go_on()
    pushes.check_blob(survivor, content, digest_of(content))


def test_a_part_that_was_replaced(guarded, slow, survivor):
    """The last part, sent early, comes once more after a larger one took its number: the blob is right, or there is
    none and its client begins again."""
    content, location, at = os.urandom(2 * PART + MIB), pushes.start(slow), PART + MIB
    hold = guarded.s3.hold(PART_2)
    attempt = Attempt(lambda client: pushes.patch(client, location, content[:at], 0), slow)
    hold.wait()
    hold.hang_up()
    assert attempt.ended().statuses == [202]
    assert pushes.patch(survivor, location, content[at:], at).status == 202
    hold.go_on()
    digest = digest_of(content)
    if survivor.send("PUT", f"{location}?digest={digest}").status != 201:
        assert survivor.send("HEAD", f"/v2/{NAME}/blobs/{digest}").status == 404
        pushes.single(survivor, content, digest)
    pushes.check_blob(survivor, content, digest)


def test_the_outbox(fleet):
    """After all that was done to the fleet, a sweep leaves nothing but blobs' objects and what open sessions have."""
    fleet.check_swept()
