"""Pulls: sent to the S3 server, or streamed through the replica."""

from __future__ import annotations

import json
import os
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.client import Answer, Client, digest_of
from tests.e2e.content import KIB, MIB
from tests.fleet.pushes import PART
from tests.seaweed import CREDENTIALS

REPOS = {"by-default": {}, "never": {"redirect": False}, "always": {"redirect": True}}
SIZE = 2 * PART + MIB + 7


@pytest.fixture(scope="module")
def redirecting(fleet) -> Client:
    """A replica that redirects unless a repo says otherwise."""
    return fleet.spawn(s3_redirect="true").client()


@pytest.fixture(scope="module")
def streaming(fleet) -> Client:
    """A replica that does not unless a repo says otherwise."""
    return fleet.spawn().client()


@pytest.fixture(scope="module")
def large() -> bytes:
    """A blob of several parts."""
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def small() -> bytes:
    """A blob that is a row."""
    return os.urandom(10 * KIB)


@pytest.fixture(scope="module", autouse=True)
def pushed(streaming, redirecting, large, small) -> None:
    """A repo for each setting, with both blobs."""
    for name, settings in REPOS.items():
        repo = {"name": name, "package_type": "docker", "repo_type": "local", "settings": settings}
        assert streaming.send("POST", "/api/v1/repos", json.dumps(repo).encode()).status == 201
        for content in (large, small):
            answer = streaming.send("POST", f"/v2/{name}/app/blobs/uploads/?digest={digest_of(content)}", content)
            assert answer.status == 201


def path(repo: str, content: bytes) -> str:
    """Where a repo has it."""
    return f"/v2/{repo}/app/blobs/{digest_of(content)}"


@pytest.mark.parametrize(
    ("client", "repo", "status"),
    [
        ("redirecting", "by-default", 307),
        ("redirecting", "always", 307),
        ("redirecting", "never", 200),
        ("streaming", "by-default", 200),
        ("streaming", "always", 307),
        ("streaming", "never", 200),
    ],
)
def test_who_redirects(request, large, small, client, repo, status):
    """The repo's setting goes before the replica's; HEAD and small blobs are always answered here."""
    client = request.getfixturevalue(client)
    answer = client.send("GET", path(repo, large))
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (status, digest_of(large))
    assert answer.body == (b"" if status == 307 else large)
    head = client.send("HEAD", path(repo, large))
    assert (head.status, head.headers["Content-Length"]) == (200, str(SIZE))
    row = client.send("GET", path(repo, small))
    assert (row.status, row.body) == (200, small)


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """GET it as a client does that follows a redirect: without any credentials."""
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, b""


def target(answer: Answer) -> str:
    """Where it sends its client, which nobody may keep."""
    assert (answer.status, answer.headers["Cache-Control"]) == (307, "no-store")
    return answer.headers["Location"]


def test_the_address_gives_the_blob(redirecting, large, seaweed):
    """The address is the S3 server's and good by itself, for the whole and for ranges, and tells no secret."""
    url = target(redirecting.send("GET", path("by-default", large)))
    assert url.startswith(f"{seaweed.endpoint}/")
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in url
    assert fetch(url) == (200, large)
    assert fetch(url, Range=f"bytes={PART - 5}-{PART + 5}") == (206, large[PART - 5 : PART + 6])
    assert fetch(url, Range="bytes=-7") == (206, large[-7:])


def test_the_address_is_for_nothing_else(redirecting, large):
    """The address is signed: it opens no other object, and takes no writes."""
    url = target(redirecting.send("GET", path("by-default", large)))
    assert fetch(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"))[0] == 403
    key, _, query = url.partition("?")
    assert fetch(f"{key[:-1]}x?{query}")[0] in (403, 404)
    with pytest.raises(HTTPError) as refused, urlopen(Request(url, b"x", method="PUT"), timeout=30):
        pass
    with refused.value:
        assert refused.value.code == 403


def test_a_range_is_redirected(redirecting, large):
    """A GET of a range is sent on, and the client repeats its Range there; one that cannot be is refused here."""
    answer = redirecting.send("GET", path("by-default", large), headers={"Range": "bytes=0-9"})
    assert fetch(target(answer), Range="bytes=0-9") == (206, large[:10])
    assert redirecting.send("GET", path("by-default", large), headers={"Range": f"bytes={SIZE}-"}).status == 416


def test_a_client_that_knows_it(redirecting, large):
    """If-None-Match is answered here."""
    headers = {"If-None-Match": f'"{digest_of(large)}"'}
    assert redirecting.send("GET", path("by-default", large), headers=headers).status == 304


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-", 0, SIZE),
        ("-1", SIZE - 1, SIZE),
        (f"-{PART + 9}", SIZE - PART - 9, SIZE),
        (f"-{2 * SIZE}", 0, SIZE),
        (f"{PART - 1}-{PART}", PART - 1, PART + 1),
        (f"{PART}-{2 * PART - 1}", PART, 2 * PART),
        (f"1000-{2 * PART + 5}", 1000, 2 * PART + 6),
        (f"{2 * PART + 1}-", 2 * PART + 1, SIZE),
        (f"{SIZE - 1}-{SIZE + 1000}", SIZE - 1, SIZE),
    ],
)
def test_ranges_through_the_replica(streaming, large, given, start, end):
    """A range of an object of several parts, within one of them or over their borders."""
    answer = streaming.send("GET", path("by-default", large), headers={"Range": f"bytes={given}"})
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/{SIZE}")
    assert answer.body == large[start:end]


@pytest.mark.parametrize("given", [f"{SIZE}-", f"{SIZE + 5}-{SIZE + 9}", "-0"])
def test_ranges_that_are_not_there(streaming, large, given):
    """416, with the size."""
    answer = streaming.send("GET", path("by-default", large), headers={"Range": f"bytes={given}"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


def test_the_setting_can_change(streaming, large):
    """A repo's setting takes effect at once, on every replica."""
    for value, status in ((True, 307), (False, 200), (None, 200)):
        body = json.dumps({"settings": {"redirect": value}}).encode()
        assert streaming.send("PATCH", "/api/v1/repos/always", body).status == 200
        assert streaming.send("GET", path("always", large)).status == status
