"""What is written to a virtual repo goes to its `push_to`."""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.daemon import eventually
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream

NAME = "virtual/team/app"


@pytest_twisted.async_yield_fixture
async def pushing(repos: Admin, client: Client):
    """A client of a virtual repo that takes pushes."""
    await repos.change("virtual", push_to="team")
    yield client


async def has(client: Client, path: str) -> bool:
    """Whether it is there."""
    return (await client.request("HEAD", f"/v2/{path}")).status == 200


async def test_an_image(pushing: Client):
    """It is the local member's, and can be pulled from both at once."""
    digest, manifest = await pushing.push_image(NAME, "v1", b"layer")
    for name in (NAME, "team/team/app"):
        answer = await pushing.get(f"/v2/{name}/manifests/v1")
        assert (answer.status, answer.body, answer.headers["Docker-Content-Digest"]) == (200, manifest, digest)
    assert not await has(pushing, "lab/team/app/manifests/v1")


async def test_locations(pushing: Client):
    """What a client is sent to is in the virtual repo."""
    started = await pushing.request("POST", f"/v2/{NAME}/blobs/uploads/")
    assert started.headers["Location"].startswith(f"/v2/{NAME}/blobs/uploads/")
    whole = await pushing.request("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest_of(b'x')}", b"x")
    assert whole.headers["Location"] == f"/v2/{NAME}/blobs/{digest_of(b'x')}"
    digest, manifest = await pushing.push_image("team/other", None)
    await pushing.push_image(NAME, None)  # its config
    put = await pushing.put_manifest(NAME, "v1", manifest)
    assert put.headers["Location"] == f"/v2/{NAME}/manifests/{digest}"


@pytest.mark.parametrize("chunked", [True, False], ids=["a stream", "chunks"])
async def test_an_upload_session(pushing: Client, chunked):
    """A session goes on under the virtual name, tells how far it is, and ends with the blob in the local member."""
    location = (await pushing.request("POST", f"/v2/{NAME}/blobs/uploads/")).headers["Location"]
    if chunked:
        sent = await pushing.request("PATCH", location, iter([b"01234", b"56789"]))
    else:
        await pushing.request("PATCH", location, b"01234", content_range="0-4")
        sent = await pushing.request("PATCH", location, b"56789", content_range="5-9")
    assert (sent.status, sent.headers["Range"]) == (202, "0-9")
    status = await pushing.get(location)
    assert (status.status, status.headers["Range"]) == (204, "0-9")
    assert status.headers["Location"] == location
    digest = digest_of(b"0123456789")
    done = await pushing.request("PUT", f"{location}?digest={digest}")
    assert (done.status, done.headers["Location"]) == (201, f"/v2/{NAME}/blobs/{digest}")
    assert await has(pushing, f"team/team/app/blobs/{digest}")


async def test_a_session_that_is_cancelled(pushing: Client):
    """It is gone under either name."""
    location = (await pushing.request("POST", f"/v2/{NAME}/blobs/uploads/")).headers["Location"]
    assert (await pushing.request("DELETE", location)).status == 204
    assert (await pushing.get(location)).status == 404


async def test_deletions(pushing: Client):
    """Tags, manifests and blobs are deleted where they were pushed, and nowhere else."""
    digest, _ = await pushing.push_image(NAME, "v1", b"layer")
    await pushing.push_image("lab/team/app", "v1", b"layer")
    for what in ("manifests/v1", f"manifests/{digest}", f"blobs/{digest_of(b'layer')}"):
        assert (await pushing.request("DELETE", f"/v2/{NAME}/{what}")).status == 202
        assert (await pushing.request("DELETE", f"/v2/{NAME}/{what}")).status == 404
    assert await has(pushing, "lab/team/app/manifests/v1")


async def test_without_push_to(repos: Admin, client: Client):
    """Every write is 405 UNSUPPORTED, by whoever may pull."""
    digest = digest_of(b"x")
    for method, what in (
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?mount={digest}&from=lab/app"),
        ("PUT", "manifests/v1"),
        ("DELETE", "manifests/v1"),
        ("DELETE", f"blobs/{digest}"),
    ):
        answer = await client.request(method, f"/v2/{NAME}/{what}", b"x" if method == "PUT" else None)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED"), (method, what)


async def test_push_to_is_taken_away(pushing: Client, repos: Admin):
    """It counts at once; so does another member."""
    await repos.change("virtual", push_to="lab")
    await pushing.push_blob(NAME, b"x")
    assert await has(pushing, f"lab/team/app/blobs/{digest_of(b'x')}")
    await repos.change("virtual", push_to=None)
    assert (await pushing.request("POST", f"/v2/{NAME}/blobs/uploads/")).status == 405


@pytest.mark.parametrize("source", ["hub/app", "virtual/app", "lab/app"])
@pytest.mark.parametrize("target", ["team/mine", "virtual/mine"])
async def test_mounts(pushing: Client, upstream: Upstream, source, target):
    """A blob that was fetched from an upstream, or that a member has, is mounted without an upload."""
    upstream.add_image("app", "v1", layer=b"layer")
    await pushing.push_image("lab/other", "v1", b"unrelated")
    if source == "lab/app":
        await pushing.push_image("lab/app", "v1", b"layer")
    else:
        assert (await pushing.get(f"/v2/hub/app/blobs/{digest_of(b'layer')}")).body == b"layer"
        await wait_for(pushing, f"/v2/hub/app/blobs/{digest_of(b'layer')}")
    asked = len(upstream.asked)
    answer = await pushing.request("POST", f"/v2/{target}/blobs/uploads/?mount={digest_of(b'layer')}&from={source}")
    assert answer.status == 201, answer.body
    assert answer.headers["Location"] == f"/v2/{target}/blobs/{digest_of(b'layer')}"
    assert (await pushing.get(f"/v2/team/mine/blobs/{digest_of(b'layer')}")).body == b"layer"
    assert len(upstream.asked) == asked


async def wait_for(client: Client, path: str) -> None:
    """Until it has been fetched."""

    def is_here() -> bool:
        return client.send("GET", path).headers.get("X-Artifact-Source") == "hit"

    await deferToThread(eventually, is_here)


async def test_a_mount_of_what_a_member_is_not_asked_for(pushing: Client, repos: Admin):
    """Its patterns are heeded: an upload begins instead."""
    await pushing.push_image("lab/secret", "v1", b"layer")
    await repos.change("virtual", members=["team", {"repo": "lab", "deny": ["secret"]}])
    path = f"/v2/virtual/mine/blobs/uploads/?mount={digest_of(b'layer')}&from=virtual/secret"
    assert (await pushing.request("POST", path)).status == 202


async def test_layers_that_another_member_has(pushing: Client, upstream: Upstream):
    """HEAD has told the client that a layer is there: so the manifest is taken without an upload of it."""
    upstream.add_image("library/app", "v1", layer=b"base")
    await wait_for(pushing, f"/v2/virtual/library/app/blobs/{digest_of(b'base')}")
    config = b'{"architecture":"amd64","os":"linux"}'
    await wait_for(pushing, f"/v2/virtual/library/app/blobs/{digest_of(config)}")
    theirs = await pushing.get("/v2/virtual/library/app/manifests/v1")
    put = await pushing.put_manifest("virtual/library/app", "mine", theirs.body)
    assert put.status == 201, put.body
    assert (await pushing.get(f"/v2/team/library/app/blobs/{digest_of(b'base')}")).body == b"base"
    refused = await pushing.put_manifest("team/other", "mine", theirs.body)
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_layers_that_an_upstream_has(pushing: Client, upstream: Upstream):
    """HEAD may have told the client of a layer that only an upstream has: it is fetched when the manifest comes."""
    upstream.add_image("library/app", "v1", layer=b"base")
    base = f"virtual/library/app/blobs/{digest_of(b'base')}"
    assert await has(pushing, base)
    theirs = await pushing.get("/v2/virtual/library/app/manifests/v1")
    put = await pushing.put_manifest("virtual/library/app", "mine", theirs.body)
    assert put.status == 201, put.body
    assert (await pushing.get(f"/v2/team/library/app/blobs/{digest_of(b'base')}")).body == b"base"


async def test_a_push_while_the_upstream_is_down(pushing: Client, upstream: Upstream):
    """HEAD of a new layer says 404 to whoever may push, as if the upstream had not had it; a GET fails."""
    upstream.status = 500
    assert (await pushing.request("HEAD", f"/v2/{NAME}/blobs/{digest_of(b'new')}")).status == 404
    assert (await pushing.get(f"/v2/{NAME}/blobs/{digest_of(b'new')}")).status == 502
    await pushing.push_image(NAME, "v1", b"new")


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_manifest_that_an_upstream_does_not_let_us_see(pushing: Client, upstream: Upstream, status: int):
    """HEAD of a new manifest, by tag or digest, says 404 to whoever may push: containerd asks so for each, and pushes
    nothing after any other error. Docker Hub says 401 of all that it does not have."""
    upstream.status = status
    for reference in ("v1", digest_of(b"new")):
        path = f"/v2/{NAME}/manifests/{reference}"
        assert (await pushing.request("HEAD", path)).status == 404
        assert (await pushing.get(path)).status == {401: 403, 500: 502}.get(status, status)


async def test_children_that_an_upstream_has(pushing: Client, upstream: Upstream):
    """HEAD may have told the client of a manifest that only an upstream has: so the index that names it is taken."""
    child = upstream.add_image("library/app", "v1", layer=b"base")
    assert await has(pushing, f"virtual/library/app/manifests/{child}")
    entry = {"mediaType": OCI_MANIFEST, "digest": child, "size": 1}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    put = await pushing.put_manifest("virtual/library/app", "mine", index, OCI_INDEX)
    assert put.status == 201, put.body
    for path in (f"manifests/{child}", f"blobs/{digest_of(b'base')}"):
        assert await has(pushing, f"team/library/app/{path}")
