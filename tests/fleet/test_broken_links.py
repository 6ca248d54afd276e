"""A connection to Postgres or to S3 that breaks at each step of a push; the replica lives."""

from __future__ import annotations

import os

import pytest

from tests.client import digest_of
from tests.e2e.content import MIB, Content
from tests.fleet import pushes
from tests.fleet.proxy import cut_after, cut_before
from tests.fleet.pushes import PART, Retrying
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
WHEN = {"before": cut_before, "after": cut_after}
S3 = (BEGIN, PART_1, PART_2, TAIL, READ_TAIL, PART_3, COMPLETE, DELETE)


@pytest.mark.parametrize("pattern", S3, ids=NAMES.get)
def test_a_link_to_s3(guarded, slow, survivor, pattern):
    """Each request to S3 is sent again when its connection broke, although S3 has done it already."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    guarded.s3.rule(pattern, cut_after)
    pushes.two_streams(slow, content, digest)
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("number", [2, 5])
def test_a_row_that_follows(guarded, slow, survivor, number, when):
    """A row that follows durable bytes is written again: no client is asked to send them twice."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    guarded.sql.rule(ROW, *[None] * (number - 1), WHEN[when])
    pushes.stream(slow, content, digest)
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize(("pattern", "number"), [(START, 1), (CLAIM, 1), (ROW, 1)])
def test_a_statement_that_comes_first(guarded, slow, survivor, pattern, number, when):
    """A request whose first statement failed is answered with 503 and Retry-After, and may be sent again as it is."""
    content = os.urandom(SIZE)
    client = Retrying(slow)
    guarded.sql.rule(pattern, *[None] * (number - 1), WHEN[when])
    pushes.in_chunks(client, content, [SIZE], digest_of(content))
    assert client.refused == 1
    pushes.check_blob(survivor, content, digest_of(content))


@pytest.mark.parametrize("size", [1000, SIZE], ids=["row", "parts"])
@pytest.mark.parametrize("when", WHEN)
def test_the_last_statement(guarded, slow, survivor, size, when):
    """A PUT whose end is unknown is answered with 503; sent again it succeeds, or finds that the session has ended."""
    content = os.urandom(size)
    digest = digest_of(content)
    location = pushes.start(slow)
    assert pushes.patch(slow, location, content, 0).status == 202
    guarded.sql.rule(COMMIT, WHEN[when])
    client = Retrying(slow)
    answer = client.send("PUT", f"{location}?digest={digest}")
    assert (client.refused, answer.status) == (1, 201 if when == "before" else 404)
    pushes.check_blob(survivor, content, digest)


@pytest.mark.parametrize("when", WHEN)
def test_the_end_of_a_manifest(guarded, slow, survivor, when):
    """A manifest whose COMMIT broke is answered with 503, and sent again it is there."""
    content = Content()
    tag = f"tag-{os.urandom(4).hex()}"
    client = Retrying(slow)
    guarded.sql.rule("^COMMIT", WHEN[when])
    content.push_image(client, tag, 1000)
    assert client.refused == 1
    content.check(survivor)


@pytest.mark.parametrize("when", WHEN)
def test_a_push_in_one_request(guarded, slow, survivor, fleet, when):
    """A POST of a whole blob whose last statement broke is answered with 503, and may be sent again."""
    content = os.urandom(SIZE)
    client = Retrying(slow)
    guarded.sql.rule(COMMIT, WHEN[when])
    pushes.single(client, content, digest_of(content))
    assert client.refused == 1
    pushes.check_blob(survivor, content, digest_of(content))
