"""Tags that stay what they are: the setting immutable_tags of a repo."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults

from tests.access.people import Administrator, Person
from tests.client import OCI_MANIFEST, Answer

IMAGE = "docker-internal/app"
V = f"/v2/{IMAGE}/manifests"


async def fix(admin: Administrator, *globs: str) -> None:
    """Let the repo's tags of these patterns be immutable."""
    answer = await admin.call("PATCH", "/repos/docker-internal", settings={"immutable_tags": list(globs)})
    assert answer.status == 200, answer.body


@pytest_twisted.async_yield_fixture
async def images(admin: Administrator):
    """Digests and manifests of an image that v1 and latest stand for, and of another one that nothing does."""
    first, manifest = await admin.push_image(IMAGE, "v1", b"first")
    assert (await admin.put_manifest(IMAGE, "latest", manifest)).status == 201
    second, other = await admin.push_image(IMAGE, None, b"second")
    await fix(admin, "v*", "stable")
    yield (first, manifest), (second, other)


async def stands_for(admin: Person, tag: str) -> str | None:
    """The digest of the manifest that the tag stands for."""
    answer = await admin.request("HEAD", f"{V}/{tag}")
    return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None


def denied(answer: Answer, tag: str) -> None:
    """Fail unless it is refused for that tag."""
    assert (answer.status, answer.code) == (403, "DENIED")
    assert answer.json["errors"][0]["detail"] == {"tag": tag}


async def test_moving(admin: Administrator, images: Any):
    """It stays, an administrator cannot move it either, and nothing of the push is left; others move."""
    (first, _), (second, manifest) = images
    digest, fresh = await admin.push_image(IMAGE, "fresh", b"third")
    assert (await admin.request("DELETE", f"{V}/{digest}")).status == 202
    denied(await admin.put_manifest(IMAGE, "v1", fresh), "v1")
    assert await stands_for(admin, digest) is None
    before = await admin.audit()
    denied(await admin.put_manifest(IMAGE, "v1", manifest), "v1")
    assert await admin.audit() == before
    assert await stands_for(admin, "v1") == first
    assert (await admin.put_manifest(IMAGE, "latest", manifest)).status == 201
    assert await stands_for(admin, "latest") == second


async def test_the_same_again(admin: Administrator, images: Any):
    """Pushing what the tag stands for already is fine, under the tag and under the digest with the tag."""
    (first, manifest), _ = images
    assert (await admin.put_manifest(IMAGE, "v1", manifest)).status == 201
    put = admin.request("PUT", f"{V}/{first}?tag=v1&tag=v1.0", manifest, content_type=OCI_MANIFEST)
    assert (await put).status == 201
    assert await stands_for(admin, "v1.0") == first
    assert [entry["action"] for entry in await admin.audit("action=tag.move")] == []


async def test_deleting_the_tag(admin: Administrator, images: Any):
    """It is not deleted; another tag is."""
    denied(await admin.request("DELETE", f"{V}/v1"), "v1")
    denied(await admin.request("DELETE", f"{V}/v9"), "v9")  # nor is what is not there told from what is
    assert (await admin.request("DELETE", f"{V}/latest")).status == 202
    assert await stands_for(admin, "v1") == images[0][0]


async def test_deleting_its_manifest(admin: Administrator, images: Any):
    """A manifest that it stands for is not deleted, others are with all their tags."""
    (first, _), (second, manifest) = images
    denied(await admin.request("DELETE", f"{V}/{first}"), "v1")
    assert await stands_for(admin, "latest") == first
    assert (await admin.put_manifest(IMAGE, "nightly", manifest)).status == 201
    assert (await admin.request("DELETE", f"{V}/{second}")).status == 202
    assert await stands_for(admin, "nightly") is None
    assert (await admin.request("DELETE", f"{V}/{second}")).status == 404


async def test_several_tags_at_once(admin: Administrator, images: Any):
    """If one of them is immutable and stands for something else, none of them moves."""
    (first, _), (second, manifest) = images
    address = f"{V}/{second}?tag=latest&tag=new&tag=v1"
    denied(await admin.request("PUT", address, manifest, content_type=OCI_MANIFEST), "v1")
    assert await stands_for(admin, "latest") == first
    assert await stands_for(admin, "new") is None
    denied(await admin.request("PUT", f"{V}/other?tag=v1", manifest, content_type=OCI_MANIFEST), "v1")
    assert await stands_for(admin, "other") is None


@pytest.mark.parametrize("round_", range(3))
async def test_two_who_push_a_new_one(admin: Administrator, elsewhere: Person, images: Any, round_: int):
    """Of several pushes of different images under a new tag, at two replicas, one wins, and the tag is its."""
    there = elsewhere.showing(admin.header)
    made = dict(images)
    for content in (b"a", b"b"):
        digest, manifest = await admin.push_image(IMAGE, None, content)
        made[digest] = manifest
    people = [admin, there, admin, there]
    pushes = zip(people, made.values(), strict=True)
    answers = await gatherResults([person.put_manifest(IMAGE, "v2", manifest) for person, manifest in pushes])
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [201, 403, 403, 403]
    assert await stands_for(admin, "v2") == list(made)[statuses.index(201)]
    assert await admin.audit("action=tag.move") == []


async def test_pushing_and_deleting_at_once(admin: Administrator, elsewhere: Person, images: Any):
    """A tag that was acknowledged is there, although its manifest is deleted at the same moment."""
    there = elsewhere.showing(admin.header)
    assert (await there.get("/v2/")).status == 200
    for number in range(8):
        digest, manifest = await admin.push_image(IMAGE, None, f"layer {number}".encode())
        pushed, deleted = await gatherResults(
            [
                admin.put_manifest(IMAGE, f"v3.{number}", manifest),
                there.request("DELETE", f"{V}/{digest}"),
            ]
        )
        assert pushed.status == 201
        assert deleted.status in (202, 403, 404)
        assert await stands_for(admin, f"v3.{number}") == digest


async def test_a_setting_that_changes(admin: Administrator, images: Any):
    """What is immutable is so as soon, and as long, as the setting says."""
    _, (second, manifest) = images
    await fix(admin, "*")
    denied(await admin.put_manifest(IMAGE, "latest", manifest), "latest")
    assert (await admin.put_manifest(IMAGE, "first-time", manifest)).status == 201
    await fix(admin)
    assert (await admin.put_manifest(IMAGE, "v1", manifest)).status == 201
    assert await stands_for(admin, "v1") == second
    assert (await admin.request("DELETE", f"{V}/v1")).status == 202


@pytest.mark.parametrize(
    "globs, fits, others",
    [
        (["v?"], ["v1", "vx"], ["v", "v10"]),
        (["v*.*"], ["v1.0", "v."], ["v1", "xv1.0"]),
        (["*-rc*"], ["1-rc1", "x-rc"], ["1-r", "1rc"]),
        (["release.1"], ["release.1"], ["release-1", "releasex1"]),
        (["a", "b*"], ["a", "b", "bc"], ["ab", "c"]),
    ],
)
async def test_patterns(admin: Administrator, globs: list[str], fits: list[str], others: list[str]):
    """A pattern is for whole tags: ? is one character, * any number, all else stands for itself."""
    _, first = await admin.push_image(IMAGE, None, b"first")
    _, second = await admin.push_image(IMAGE, None, b"second")
    await fix(admin, *globs)
    for tag in (*fits, *others):
        assert (await admin.put_manifest(IMAGE, tag, first)).status == 201
        assert (await admin.put_manifest(IMAGE, tag, second)).status == (403 if tag in fits else 201), tag


async def test_only_that_repo(admin: Administrator, images: Any):
    """Another repo's tags move."""
    for content in (b"1", b"2"):
        digest, _ = await admin.push_image("other/app", "v1", content)
    answer = await admin.request("HEAD", "/v2/other/app/manifests/v1")
    assert answer.headers["Docker-Content-Digest"] == digest


async def test_retention_and_the_repo_itself(admin: Administrator, images: Any):
    """Who administers the repo may still delete it with all it holds: that is asked for by name."""
    assert (await admin.request("DELETE", "/api/v1/repos/docker-internal")).status == 409
    assert (await admin.request("DELETE", "/api/v1/repos/docker-internal?force=true")).status == 204
