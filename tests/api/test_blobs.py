"""End-points 2, 10 and 11: blobs as a client sees them."""

from __future__ import annotations

import os

import pytest

from tests.client import Client, digest_of

NAME = "docker-internal/team/app"
SMALL, LARGE = b"small " * 100, os.urandom(3 * 1024 * 1024 + 7)
ABSENT = "sha256:" + "0" * 64
both_sizes = pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "inline", "file"])


@both_sizes
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_get_and_head(client: Client, content: bytes, algorithm: str):
    """GET gives the bytes and HEAD the same headers without them."""
    digest = await client.push_blob(NAME, content, algorithm)
    got = await client.get(f"/v2/{NAME}/blobs/{digest}")
    head = await client.request("HEAD", f"/v2/{NAME}/blobs/{digest}")
    assert (got.status, got.body, head.status, head.body) == (200, content, 200, b"")
    for answer in (got, head):
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["X-Artifact-Source"] == "local"
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["inline", "file"])
@pytest.mark.parametrize(
    "header, part",
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-99", slice(10, 100)),
        ("bytes=300-", slice(300, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=0-99999999999", slice(0, None)),
    ],
)
async def test_ranges(client: Client, content: bytes, header: str, part: slice):
    """A range is the slice of the content, and says where it is."""
    digest = await client.push_blob(NAME, content)
    start, end, _ = part.indices(len(content))
    answer = await client.get(f"/v2/{NAME}/blobs/{digest}", range=header)
    assert (answer.status, answer.body) == (206, content[part])
    assert answer.headers["Content-Length"] == str(len(content[part]))
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(content)}"


@pytest.mark.parametrize("header", ["bytes=600-", "bytes=500-0", "bytes=-0"])
async def test_unsatisfiable_ranges(client: Client, header: str):
    """Bytes that do not exist are 416 with the size."""
    digest = await client.push_blob(NAME, SMALL)
    answer = await client.get(f"/v2/{NAME}/blobs/{digest}", range=header)
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert answer.headers["Content-Range"] == f"bytes */{len(SMALL)}"


@both_sizes
@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
async def test_conditional(client: Client, content: bytes, form: str):
    """A blob that the client has is 304, without a body."""
    digest = await client.push_blob(NAME, content)
    answer = await client.get(f"/v2/{NAME}/blobs/{digest}", if_none_match=form.format(digest))
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == f'"{digest}"'
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}", if_none_match='"other"')).status == 200


async def test_unknown_blobs(client: Client):
    """A blob the image does not have is BLOB_UNKNOWN, though another has it; without the repo NAME_UNKNOWN."""
    digest = await client.push_blob(NAME, SMALL)
    for name, wanted, code in (
        (NAME, ABSENT, "BLOB_UNKNOWN"),
        ("docker-internal/other", digest, "BLOB_UNKNOWN"),
        ("nowhere/app", digest, "NAME_UNKNOWN"),
    ):
        answer = await client.get(f"/v2/{name}/blobs/{wanted}")
        assert (answer.status, answer.code) == (404, code)
        assert (await client.request("HEAD", f"/v2/{name}/blobs/{wanted}")).status == 404


@both_sizes
async def test_delete(client: Client, content: bytes):
    """A deleted blob is gone from its image at once, and stays in the others."""
    digest = await client.push_blob(NAME, content)
    await client.push_blob("docker-internal/other", content)
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).status == 200
    assert (await client.request("DELETE", f"/v2/{NAME}/blobs/{digest}")).status == 202
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).status == 404
    again = await client.request("DELETE", f"/v2/{NAME}/blobs/{digest}")
    assert (again.status, again.code) == (404, "BLOB_UNKNOWN")
    assert (await client.get(f"/v2/docker-internal/other/blobs/{digest}")).body == content
    assert await client.push_blob(NAME, content) == digest
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).body == content


@both_sizes
@pytest.mark.parametrize("source", [f"&from={NAME}", ""], ids=["named", "anonymous"])
async def test_mount(client: Client, content: bytes, source: str):
    """A blob that the source, or any image, has is linked without a byte being sent."""
    digest = await client.push_blob(NAME, content)
    answer = await client.request("POST", f"/v2/other/copy/blobs/uploads/?mount={digest}{source}")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/other/copy/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert (await client.get(f"/v2/other/copy/blobs/{digest}")).body == content


@pytest.mark.parametrize("source", ["docker-internal/nothing", "nowhere/app", "Bad", "", "%00"])
async def test_a_mount_that_is_not_there(client: Client, source: str):
    """A mount that cannot be is an upload session instead, and links nothing."""
    digest = await client.push_blob(NAME, SMALL)
    wanted = digest if source else ABSENT
    answer = await client.request("POST", f"/v2/other/copy/blobs/uploads/?mount={wanted}&from={source}")
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    assert (await client.get(f"/v2/other/copy/blobs/{wanted}")).status == 404
    finished = await client.request("PUT", f"{answer.headers['Location']}?digest={digest}", SMALL)
    assert finished.status == 201


async def test_a_mount_into_a_repo_that_is_not_there(client: Client):
    """Nothing is mounted where there is no repo."""
    digest = await client.push_blob(NAME, SMALL)
    answer = await client.request("POST", f"/v2/nowhere/copy/blobs/uploads/?mount={digest}&from={NAME}")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


async def test_a_mount_of_no_digest(client: Client):
    """A mount of what is no digest is DIGEST_INVALID."""
    answer = await client.request("POST", f"/v2/{NAME}/blobs/uploads/?mount=x&from={NAME}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_the_same_blob_twice(client: Client, service):
    """A blob that two images push is kept once."""
    first = await client.push_blob(NAME, LARGE)
    assert await client.push_blob("other/app", LARGE) == first == digest_of(LARGE)
    objects = [path for path in (service.config.data_dir / "objects").rglob("*") if path.is_file()]
    assert len(objects) == 1


async def test_head_has_no_range(client):
    """Range is for GET alone (RFC 9110, 14.2): HEAD tells of the whole."""
    digest = await client.push_blob(NAME, b"0123456789")
    answer = await client.request("HEAD", f"/v2/{NAME}/blobs/{digest}", range="bytes=0-3")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "10")


@pytest.mark.parametrize("own, status", [(True, 206), (False, 200)])
async def test_if_range(client, own, status):
    """A Range counts only if its If-Range, if there is one, names this content."""
    digest = await client.push_blob(NAME, b"0123456789")
    condition = f'"{digest}"' if own else '"sha256:other"'
    answer = await client.get(f"/v2/{NAME}/blobs/{digest}", **{"range": "bytes=0-3", "if-range": condition})
    assert (answer.status, answer.body) == (status, b"0123456789"[: 4 if own else 10])
