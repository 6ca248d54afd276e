"""An S3 server that answers with errors, or breaks off its answers."""

from __future__ import annotations

import http.client
import os

import pytest

from tests.client import Client, digest_of
from tests.e2e.content import MIB, NAME
from tests.fleet import pushes
from tests.fleet.proxy import Rule, answering, cut_before, stopping_after
from tests.fleet.pushes import PART
from tests.fleet.steps import BEGIN, COMPLETE, DELETE, NAMES, PART_1, PART_3, READ_TAIL, TAIL

SIZE = 2 * PART + MIB + 7
GET = r"^GET .*/blobs/"


def error(status: str, code: str) -> Rule:
    """An answer of that status."""
    return answering(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode())


BUSY, BROKEN = error("503 Slow Down", "SlowDown"), error("500 Internal Server Error", "InternalError")
GONE = error("404 Not Found", "NoSuchKey")
BROKEN_LATE = error("200 OK", "InternalError")
"""Complete's own way to fail: the status was sent before the work was done."""


@pytest.mark.parametrize("rules", [[BUSY], [BROKEN, cut_before], [BUSY, BROKEN, BUSY]], ids=len)
def test_errors_that_pass(guarded, slow, survivor, rules):
    """Up to three failures of one request in a row are seen by no client."""
    content = os.urandom(SIZE)
    guarded.s3.rule(PART_1, *rules)
    pushes.stream(slow, content, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


@pytest.mark.parametrize("pattern", [BEGIN, TAIL, READ_TAIL, COMPLETE, DELETE], ids=NAMES.get)
def test_an_error_at_each_request(guarded, slow, survivor, pattern):
    """Whatever request to S3 fails once is made again."""
    content = os.urandom(SIZE)
    guarded.s3.rule(pattern, BUSY)
    pushes.two_streams(slow, content, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


def test_an_error_inside_of_a_success(guarded, slow, survivor):
    """CompleteMultipartUpload that fails after its status was sent is made again."""
    content = os.urandom(SIZE)
    guarded.s3.rule(COMPLETE, BROKEN_LATE)
    pushes.stream(slow, content, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


@pytest.mark.parametrize("rule", [BROKEN, cut_before], ids=["500", "cut"])
def test_parts_fail_for_ever(guarded, slow, survivor, rule):
    """A PATCH is answered with 503 and Retry-After; its session is where its last durable part ended, and goes on."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    location = pushes.start(slow)
    guarded.s3.always(r"PUT .*partNumber=2\b", rule)
    refused(slow.send("PATCH", location, pushes.pieces(content)))
    assert pushes.offset(slow, location) == pushes.offset(survivor, location) == PART
    guarded.s3.clear()
    assert pushes.patch(slow, location, content[PART:], PART).status == 202
    pushes.put(slow, location, digest)
    pushes.check_blob(survivor, content, digest)


def refused(answer) -> None:
    """It is 503, and says when to come again, and nothing of S3's own words."""
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"<" not in answer.body


def test_the_end_fails_for_ever(guarded, slow, survivor):
    """A PUT is answered with 503 and Retry-After, and succeeds when it is sent again later."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    location = pushes.start(slow)
    assert pushes.patch(slow, location, content, 0).status == 202
    guarded.s3.always(COMPLETE, BUSY)
    refused(slow.send("PUT", f"{location}?digest={digest}"))
    assert survivor.send("HEAD", f"/v2/{NAME}/blobs/{digest}").status == 404
    assert pushes.offset(survivor, location) == SIZE
    guarded.s3.clear()
    pushes.put(slow, location, digest)
    pushes.check_blob(survivor, content, digest)


def test_the_last_part_fails(guarded, slow, survivor):
    """A part that is only sent early, in case nothing follows, may fail: it is sent again at the end."""
    content = os.urandom(SIZE)
    location = pushes.start(slow)
    guarded.s3.always(PART_3, BROKEN)
    assert pushes.patch(slow, location, content, 0).status == 202
    guarded.s3.clear()
    pushes.put(survivor, location, digest_of(content))
    pushes.check_blob(survivor, content, digest_of(content))


def test_a_push_in_one_request_fails(guarded, slow, survivor, fleet):
    """A POST of a whole blob is answered with 503, and leaves no session; sent again it succeeds."""
    content = os.urandom(SIZE)
    digest = digest_of(content)
    sessions = fleet.query("SELECT count(*) FROM upload_sessions")
    guarded.s3.always(r"PUT .*partNumber=2\b", BUSY)
    refused(slow.send("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", content))
    assert fleet.query("SELECT count(*) FROM upload_sessions") == sessions
    guarded.s3.clear()
    pushes.single(slow, content, digest)
    pushes.check_blob(survivor, content, digest)


def test_what_goes_on_without_s3(guarded, slow, survivor):
    """While S3 fails the daemon is not ready, yet small blobs, which are rows, come and go; then it is ready again."""
    small = os.urandom(1000)
    guarded.s3.always("", BUSY)
    assert slow.send("GET", "/readyz").status == 503
    assert slow.send("GET", "/healthz").status == 200
    pushes.stream(slow, small, digest_of(small))
    pushes.check_blob(slow, small, digest_of(small))
    guarded.s3.clear()
    assert slow.send("GET", "/readyz").status == 200


@pytest.fixture(scope="module")
def blob(survivor) -> bytes:
    """A blob of several parts."""
    content = os.urandom(2 * PART + MIB)
    pushes.single(survivor, content, digest_of(content))
    return content


def read(client: Client, content: bytes, **headers: str) -> tuple[int, bytes, bool]:
    """A GET of the blob: its status, the bytes that came, and whether they are all that was announced."""
    connection = http.client.HTTPConnection(client.host, client.port, timeout=30)
    try:
        connection.request("GET", f"/v2/{NAME}/blobs/{digest_of(content)}", headers=headers)
        response = connection.getresponse()
        try:
            return response.status, response.read(), True
        except http.client.IncompleteRead as cut:
            return response.status, cut.partial, False
        except ConnectionResetError:
            return response.status, b"", False
    finally:
        connection.close()


@pytest.mark.parametrize("sizes", [[0], [1], [MIB + 7], [PART, 12_345, 0, MIB]], ids=str)
def test_a_download_whose_link_breaks(guarded, slow, blob, sizes):
    """A download goes on where its connection to S3 broke; a range of it too."""
    guarded.s3.rule(GET, *map(stopping_after, sizes))
    assert read(slow, blob) == (200, blob, True)
    guarded.s3.clear()
    guarded.s3.rule(GET, *map(stopping_after, sizes))
    assert read(slow, blob, Range=f"bytes=1000-{PART + 5}") == (206, blob[1000 : PART + 6], True)
    guarded.s3.clear()


def test_a_download_that_breaks_again_and_again(guarded, slow, blob):
    """As long as each connection brings something, the download goes on."""
    guarded.s3.always(GET, stopping_after(MIB))
    assert read(slow, blob) == (200, blob, True)


@pytest.mark.parametrize("rule", [stopping_after(0), GONE], ids=["cut", "404"])
def test_a_download_that_cannot_go_on(guarded, slow, blob, rule):
    """What a client got is right, and its connection is cut: never is a wrong end taken for the blob's."""
    guarded.s3.rule(GET, stopping_after(PART))
    guarded.s3.always(GET, rule)
    status, data, complete = read(slow, blob)
    assert (status, complete) == (200, False)
    assert blob.startswith(data)
    guarded.s3.clear()
    assert read(slow, blob) == (200, blob, True)


def test_a_download_that_cannot_begin(guarded, slow, blob):
    """A GET while S3 fails is answered with 503 and Retry-After; a HEAD needs no S3."""
    guarded.s3.always(GET, BUSY)
    path = f"/v2/{NAME}/blobs/{digest_of(blob)}"
    refused(slow.send("GET", path))
    assert slow.send("HEAD", path).status == 200
    guarded.s3.clear()
    assert read(slow, blob) == (200, blob, True)
