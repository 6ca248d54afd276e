"""Every request of a push goes to the other one of two replicas."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from tests.client import digest_of
from tests.e2e.content import KIB, MIB, NAME, UPLOADS, Content
from tests.fleet import pushes
from tests.fleet.fleet import Turns
from tests.fleet.pushes import ODD, PART

OTHER = "docker-internal/team/other"
WAYS = (pushes.stream, pushes.two_streams, pushes.whole, pushes.rest_in_put, pushes.single, pushes.announced)
SIZES = {"row": 64 * KIB, "object": 64 * KIB + 1, "part": PART, "parts": 2 * PART + 5 * MIB + 1}


@pytest.fixture(autouse=True)
def balance(fleet):
    """After every test rows and bytes agree, and it has left no multipart upload."""
    before = fleet.multiparts()
    yield
    fleet.check_balance()
    assert fleet.multiparts() == before


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_each_way(turns, replicas, way, size):
    """Whatever way a blob comes, both replicas give it."""
    content = os.urandom(size)
    digest = digest_of(content)
    way(turns, content, digest)
    check(replicas, content, digest)


def check(replicas, content: bytes, digest: str, name: str = NAME) -> None:
    """Both replicas give the blob."""
    for replica in replicas:
        pushes.check_blob(replica, content, digest, name)


@pytest.mark.parametrize("size", [64 * KIB, 2 * PART + 5 * MIB + 1], ids=["row", "parts"])
@pytest.mark.parametrize("way", [pushes.stream, pushes.announced, pushes.single])
def test_sha512(turns, replicas, way, size):
    """A digest of another algorithm is right whether it was announced or comes as a surprise at the end."""
    content = os.urandom(size)
    digest = digest_of(content, "sha512")
    way(turns, content, digest)
    check(replicas, content, digest)


@pytest.mark.parametrize("content", [b"", b"x"], ids=["nothing", "one byte"])
@pytest.mark.parametrize("way", [pushes.whole, pushes.single])
def test_next_to_nothing(turns, replicas, way, content):
    """Blobs of no byte and of one."""
    way(turns, content, digest_of(content))
    check(replicas, content, digest_of(content))


@pytest.mark.parametrize(
    "sizes", [(300 * KIB,), (MIB,), (5 * MIB + 1,), (PART,), ODD], ids=["300 KiB", "1 MiB", "5 MiB + 1", "part", "odd"]
)
def test_chunks(turns, replicas, sizes):
    """Chunks of any size become parts and tails, each of which another replica goes on from."""
    content = os.urandom(2 * PART + 5 * MIB + 77)
    digest = digest_of(content)
    pushes.in_chunks(turns, content, pushes.sizes_in_turn(len(content), *sizes), digest)
    check(replicas, content, digest)


def test_streams_that_end_anywhere(turns, replicas):
    """Streams of odd lengths, one after the other, and a PUT that brings the last bytes."""
    content = os.urandom(3 * PART + 1)
    digest = digest_of(content)
    cuts = [0, 1, 64 * KIB, PART - 1, PART + 3, 2 * PART + 3, 3 * PART - 1]
    location = pushes.start(turns)
    for start, end in pairwise(cuts):
        answer = turns.send("PATCH", location, pushes.pieces(content[start:end]))
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{end - 1}"), answer.body
    pushes.put(turns, location, digest, content[cuts[-1] :])
    check(replicas, content, digest)


def test_the_status_is_the_same(replicas):
    """After each chunk both replicas say how far the session is, and refuse a chunk that is not the next."""
    content, location = os.urandom(2 * PART), pushes.start(replicas[0])
    turns, at = Turns(replicas), 0
    for size in (1000, 64 * KIB, PART, 5 * MIB):
        assert pushes.patch(turns, location, content[at : at + size], at).status == 202
        at += size
        assert [pushes.offset(replica, location) for replica in replicas] == [at, at]
        early = pushes.patch(turns, location, content[at + 1 : at + 10], at + 1)
        assert (early.status, early.headers["Range"]) == (416, f"0-{at - 1}")
    pushes.put(turns, location, digest_of(content), content[at:])
    check(replicas, content, digest_of(content))


@pytest.mark.parametrize("size", [1000, PART + MIB], ids=["row", "part"])
def test_cancel_on_the_other(replicas, fleet, size):
    """A session that was begun here and cancelled there is gone on both, and so are its bytes."""
    before = fleet.objects()
    location = pushes.start(replicas[0])
    assert replicas[0].send("PATCH", location, pushes.pieces(os.urandom(size))).status == 202
    assert replicas[1].send("DELETE", location).status == 204
    for replica in replicas:
        assert [replica.send(method, location).status for method in ("GET", "PATCH", "DELETE")] == [404] * 3
    assert fleet.objects() == before


def test_a_wrong_digest(replicas, fleet):
    """An upload whose digest does not fit ends on both replicas, leaves no bytes, and no blob."""
    before, content = fleet.objects(), os.urandom(PART + MIB)
    location = pushes.start(replicas[0])
    assert replicas[1].send("PATCH", location, pushes.pieces(content)).status == 202
    answer = replicas[0].send("PUT", f"{location}?digest={digest_of(b'other')}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert [replica.send("GET", location).status for replica in replicas] == [404, 404]
    assert [r.send("HEAD", f"/v2/{NAME}/blobs/{digest_of(content)}").status for r in replicas] == [404, 404]
    assert fleet.objects() == before


@pytest.mark.parametrize("size", [1000, PART + 1], ids=["row", "parts"])
def test_mount(turns, replicas, size):
    """A blob pushed on one replica is mounted on the other; then the other image has it on both."""
    content = os.urandom(size)
    digest = digest_of(content)
    pushes.single(turns, content, digest)
    assert turns.send("HEAD", f"/v2/{OTHER}/blobs/{digest}").status == 404
    assert turns.send("POST", f"/v2/{OTHER}/blobs/uploads/?mount={digest}&from={NAME}").status == 201
    check(replicas, content, digest, OTHER)
    missing = turns.send("POST", f"{UPLOADS}?mount={digest_of(b'missing')}&from={OTHER}")
    assert missing.status == 202, "it becomes a session instead"
    assert turns.send("DELETE", missing.headers["Location"]).status == 204


def test_images_and_tags(turns, replicas):
    """Images pushed in turns, an index of them, tags that move and one that goes: the same on both replicas."""
    content = Content()
    first, second = content.push_image(turns, "turn-1", PART + 1), content.push_image(turns, "turn-2", 10 * KIB)
    content.push_index(turns, "turn-both", first, second)
    content.push_image(turns, "turn-1", 100 * KIB)
    content.push_image(turns, "turn-gone", 10)
    assert turns.send("DELETE", f"/v2/{NAME}/manifests/turn-gone").status == 202
    del content.tags["turn-gone"]
    for replica in replicas:
        content.check(replica)
        tags = replica.send("GET", f"/v2/{NAME}/tags/list?last=turn-&n=4").json["tags"]
        assert tags[:3] == ["turn-1", "turn-2", "turn-both"]
        assert "turn-gone" not in tags
        assert replica.send("GET", f"/v2/{NAME}/manifests/turn-gone").status == 404


def test_a_repo_made_on_one(turns, replicas):
    """A repo that one replica makes is pushed to on the other, and gone on both once it is deleted."""
    repo = b'{"name": "team-b", "package_type": "docker", "repo_type": "local"}'
    assert turns.send("POST", "/api/v1/repos", repo).status == 201
    content, name = os.urandom(70 * KIB), "team-b/app"
    answer = turns.send("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}", content)
    assert answer.status == 201
    check(replicas, content, digest_of(content), name)
    assert turns.send("DELETE", "/api/v1/repos/team-b?force=true").status == 204
    for replica in replicas:
        assert replica.send("GET", f"/v2/{name}/blobs/{digest_of(content)}").status == 404
