"""The ways a client may upload a blob, as requests to one registry or to several in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.client import Answer, Client, digest_of
from tests.e2e.content import KIB, MIB, NAME, UPLOADS

PART = 8 * MIB
"""Bytes of a part of a multipart upload."""


class Retrying:
    """A client that sends a request again when it is told to."""

    def __init__(self, client: Client) -> None:
        self.refused = 0
        self._client = client

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Answer:
        """One request, until it is answered with something else than 503."""
        while (answer := self._client.send(method, path, body, headers)).status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.code == "UNAVAILABLE"
            self.refused += 1
        return answer


def start(client: Any, query: str = "") -> str:
    """A new session's location."""
    answer = client.send("POST", UPLOADS + query)
    assert answer.status == 202, answer.body
    return answer.headers["Location"]


def offset(client: Any, location: str) -> int:
    """Where a session is, as its status says; 0 also for a session of one byte."""
    answer = client.send("GET", location)
    assert answer.status == 204, answer.body
    last = int(answer.headers["Range"].removeprefix("0-"))
    return last + 1 if last else 0


def pieces(content: bytes, size: int = 100_000) -> Iterator[bytes]:
    """A body that is sent without a length."""
    return (content[at : at + size] for at in range(0, len(content), size))


def patch(client: Any, location: str, content: bytes, at: int) -> Answer:
    """A chunk that begins at byte `at`."""
    headers = {"Content-Range": f"{at}-{at + len(content) - 1}", "Content-Type": "application/octet-stream"}
    return client.send("PATCH", location, content, headers)


def put(client: Any, location: str, digest: str, rest: bytes | None = None) -> None:
    """The end of an upload."""
    answer = client.send("PUT", f"{location}?digest={digest}", rest)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest), answer.body


def in_chunks(client: Any, content: bytes, sizes: Iterable[int], digest: str) -> None:
    """POST, PATCHes of these sizes with Content-Range, PUT."""
    location, at = start(client), 0
    for size in sizes:
        answer = patch(client, location, content[at : at + size], at)
        at = min(at + size, len(content))
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{at - 1}"), answer.body
        location = answer.headers["Location"]
    put(client, location, digest)


def stream(client: Any, content: bytes, digest: str, query: str = "") -> None:
    """POST, one PATCH without a length, PUT: as docker does it."""
    location = start(client, query)
    answer = client.send("PATCH", location, pieces(content))
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(content) - 1}"), answer.body
    put(client, answer.headers["Location"], digest)


def two_streams(client: Any, content: bytes, digest: str) -> None:
    """POST, a PATCH for each half, PUT."""
    location, half = start(client), len(content) // 2 + 1
    for part in (content[:half], content[half:]):
        answer = client.send("PATCH", location, pieces(part))
        assert answer.status == 202, answer.body
    put(client, location, digest)


def whole(client: Any, content: bytes, digest: str, query: str = "") -> None:
    """POST, PUT with all of it."""
    put(client, start(client, query), digest, content)


def rest_in_put(client: Any, content: bytes, digest: str) -> None:
    """POST, PATCH with a half, PUT with the other."""
    location, half = start(client), len(content) // 2 + 1
    assert patch(client, location, content[:half], 0).status == 202
    put(client, location, digest, content[half:])


def single(client: Any, content: bytes, digest: str) -> None:
    """One POST."""
    answer = client.send("POST", f"{UPLOADS}?digest={digest}", content)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest), answer.body


def announced(client: Any, content: bytes, digest: str) -> None:
    """A stream whose digest's algorithm is announced."""
    stream(client, content, digest, f"?digest-algorithm={digest.partition(':')[0]}")


def check_blob(client: Any, content: bytes, digest: str, name: str = NAME) -> None:
    """It is there, byte for byte."""
    answer = client.send("GET", f"/v2/{name}/blobs/{digest}")
    assert (answer.status, answer.body == content) == (200, True), (answer.status, len(answer.body), len(content))
    assert digest_of(answer.body, digest.partition(":")[0]) == digest
    head = client.send("HEAD", f"/v2/{name}/blobs/{digest}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(content)))


def sizes_in_turn(total: int, *sizes: int) -> list[int]:
    """These sizes again and again, until there are `total` bytes."""
    made: list[int] = []
    while sum(made) < total:
        made.append(sizes[len(made) % len(sizes)])
    return made


ODD = (65_536, 1, 8 * MIB, 12_345, 300 * KIB, 7 * MIB - 3, 5 * MIB + 1, 65_535)
