"""End-points 4, 5, 6, 13 and 14: upload sessions as a client sees them."""

from __future__ import annotations

import os
import re

import pytest

from tests.client import Answer, Client, digest_of

NAME = "docker-internal/team/app"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
ABSENT = f"{UPLOADS}00000000-0000-4000-8000-000000000000"
SMALL, LARGE = b"small " * 100, os.urandom(1024 * 1024 + 7)
both_sizes = pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "inline", "file"])


async def start(client: Client, query: str = "") -> str:
    """A new session's location."""
    answer = await client.request("POST", UPLOADS + query)
    assert answer.status == 202, answer.body
    return answer.headers["Location"]


def pieces(content: bytes, size: int = 100_000):
    """The content in pieces, for a chunked body."""
    return (content[at : at + size] for at in range(0, len(content), size))


async def is_pushed(client: Client, content: bytes, answer: Answer, algorithm: str = "sha256") -> None:
    """The answer is a 201 for this content, which can be pulled."""
    digest = digest_of(content, algorithm)
    assert answer.status == 201, answer.body
    assert answer.headers["Location"] == f"/v2/{NAME}/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert (await client.get(answer.headers["Location"])).body == content


async def test_start(client: Client):
    """POST gives a relative location, an id and an empty range."""
    answer = await client.request("POST", UPLOADS)
    assert (answer.status, answer.body) == (202, b"")
    upload = answer.headers["Docker-Upload-UUID"]
    assert re.fullmatch(r"[0-9a-f-]{36}", upload)
    assert answer.headers["Location"] == UPLOADS + upload
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["Content-Length"] == "0"


@both_sizes
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_whole_in_one_post(client: Client, content: bytes, algorithm: str):
    """4b: a POST with the digest and the bytes."""
    digest = digest_of(content, algorithm)
    await is_pushed(client, content, await client.request("POST", f"{UPLOADS}?digest={digest}", content), algorithm)


@both_sizes
async def test_whole_in_one_put(client: Client, content: bytes):
    """POST, then PUT with all bytes."""
    location = await start(client)
    answer = await client.request("PUT", f"{location}?digest={digest_of(content)}", content)
    await is_pushed(client, content, answer)


@both_sizes
async def test_streamed(client: Client, content: bytes):
    """POST, one PATCH without Content-Range in HTTP chunks, PUT without a body: as docker does."""
    location = await start(client)
    patched = await client.request("PATCH", location, pieces(content))
    assert (patched.status, patched.body) == (202, b"")
    assert patched.headers["Range"] == f"0-{max(len(content) - 1, 0)}"
    assert patched.headers["Docker-Upload-UUID"] in patched.headers["Location"]
    answer = await client.request("PUT", f"{patched.headers['Location']}?digest={digest_of(content)}")
    await is_pushed(client, content, answer)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("hint", [True, False])
@pytest.mark.parametrize("last", ["chunk", "nothing"])
async def test_chunked(client: Client, algorithm: str, hint: bool, last: str):
    """POST, PATCH a chunk at a time, PUT with the last chunk or nothing; sha512 with the hint and without."""
    content, size = LARGE, 300_000
    location = await start(client, f"?digest-algorithm={algorithm}" if hint else "")
    at = 0
    while at < len(content) - (size if last == "chunk" else 0):
        chunk = content[at : at + size]
        answer = await client.request("PATCH", location, chunk, content_range=f"{at}-{at + len(chunk) - 1}")
        at += len(chunk)
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{at - 1}")
        location = answer.headers["Location"]
    rest, headers = content[at:], {}
    if rest:
        headers = {"content_range": f"{at}-{len(content) - 1}"}
    answer = await client.request("PUT", f"{location}?digest={digest_of(content, algorithm)}", rest, **headers)
    await is_pushed(client, content, answer, algorithm)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("chunk", ["0-9", "11-20", "21-30"])
async def test_out_of_order(client: Client, method: str, chunk: str):
    """A chunk that is not the next is 416, not appended, and the session goes on from where it was."""
    location, content = await start(client), bytes(range(20))
    await client.request("PATCH", location, content[:10])
    query = f"?digest={digest_of(content)}" if method == "PUT" else ""
    answer = await client.request(method, location + query, b"x" * 10, content_range=chunk)
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
    assert (answer.headers["Range"], answer.headers["Location"]) == ("0-9", location)
    status = await client.get(location)
    assert (status.status, status.headers["Range"]) == (204, "0-9")
    finished = await client.request(
        "PUT", f"{location}?digest={digest_of(content)}", content[10:], content_range="10-19"
    )
    await is_pushed(client, content, finished)


async def test_a_first_chunk_that_is_not_first(client: Client):
    """An empty session takes only a chunk that begins at 0."""
    location = await start(client)
    answer = await client.request("PATCH", location, b"x" * 10, content_range="10-19")
    assert (answer.status, answer.headers["Range"]) == (416, "0-0")
    assert (await client.get(location)).status == 204


async def test_a_chunk_of_another_length(client: Client):
    """A Content-Range that contradicts Content-Length is SIZE_INVALID."""
    location = await start(client)
    answer = await client.request("PATCH", location, b"x" * 10, content_range="0-8")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert (await client.get(location)).headers["Range"] == "0-0"


@both_sizes
@pytest.mark.parametrize("whole", [True, False])
async def test_a_wrong_digest(client: Client, service, content: bytes, whole: bool):
    """Content that has another digest is DIGEST_INVALID; neither blob nor session nor object is left."""
    wrong = digest_of(b"other")
    location = UPLOADS if whole else await start(client)
    answer = await client.request("POST" if whole else "PUT", f"{location}?digest={wrong}", content)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert answer.json["errors"][0]["detail"] == {"digest": wrong, "actual": digest_of(content)}
    assert (await client.get(f"/v2/{NAME}/blobs/{wrong}")).status == 404
    assert (await client.get(f"/v2/{NAME}/blobs/{digest_of(content)}")).status == 404
    if not whole:
        assert (await client.get(location)).code == "BLOB_UPLOAD_UNKNOWN"
    for folder in ("objects", "staging"):
        assert not [path for path in (service.config.data_dir / folder).rglob("*") if path.is_file()]


@both_sizes
async def test_status(client: Client, content: bytes):
    """GET and HEAD tell how far the session is, with `?digest=` left in the URL too."""
    location = await start(client)
    await client.request("PATCH", location, content)
    for method in ("GET", "HEAD"):
        answer = await client.request(method, f"{location}?digest={digest_of(content)}")
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Range"] == f"0-{max(len(content) - 1, 0)}"
        assert answer.headers["Location"] == location
        assert answer.headers["Docker-Upload-UUID"] == location.rpartition("/")[2]


@both_sizes
async def test_cancel(client: Client, service, content: bytes):
    """DELETE ends the session, and its bytes are gone."""
    location = await start(client)
    await client.request("PATCH", location, content)
    answer = await client.request("DELETE", location)
    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        again = await client.request(method, location)
        assert again.status == 404
        assert again.code == "BLOB_UPLOAD_UNKNOWN"
    assert not [path for path in (service.config.data_dir / "staging").rglob("*") if path.is_file()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PUT", "DELETE"])
async def test_unknown_sessions(client: Client, method: str):
    """A session that never was, or of another image, is BLOB_UPLOAD_UNKNOWN."""
    other = (await start(client)).replace("team/app", "team/other")
    for path in (ABSENT, other, f"{UPLOADS}nonsense"):
        query = f"?digest={digest_of(b'')}" if method == "PUT" else ""
        answer = await client.request(method, path + query)
        assert answer.status == 404
        assert method == "HEAD" or answer.code == "BLOB_UPLOAD_UNKNOWN"


async def test_a_finished_session_is_over(client: Client):
    """After its PUT a session is unknown."""
    location = await start(client)
    url = f"{location}?digest={digest_of(SMALL)}"
    assert (await client.request("PUT", url, SMALL)).status == 201
    again = await client.request("PUT", url, SMALL)
    assert (again.status, again.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_put_without_a_digest(client: Client):
    """PUT needs the digest, and the session stays."""
    location = await start(client)
    answer = await client.request("PUT", location, SMALL)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await client.get(location)).status == 204


async def test_an_unknown_algorithm(client: Client):
    """A hint of an algorithm that is not taken is 400 (4c)."""
    answer = await client.request("POST", f"{UPLOADS}?digest-algorithm=md5")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_an_unknown_repo(client: Client):
    """There is no upload to a repo that is not there."""
    for query in ("", f"?digest={digest_of(SMALL)}"):
        answer = await client.request("POST", f"/v2/nowhere/app/blobs/uploads/{query}", SMALL)
        assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
