"""Whatever is sent to a real daemon: never a 5xx, never a hang, and nothing is left behind."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client import OCI_MANIFEST, Client, digest_of
from tests.daemon import Daemon

DIGEST = digest_of(b"blob")
ANY = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20)
WORD = st.sampled_from(
    ["v2", "docker-internal", "app", "blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog", "",
     "latest", DIGEST, "api", "v1", "repos", "..", "%00", "%2F", "%FF", "healthz", "other"]
)  # fmt: skip
PATH = st.lists(WORD | ANY, max_size=7).map(lambda words: "/" + "/".join(words))
QUERY = st.lists(
    st.tuples(st.sampled_from(["digest", "mount", "from", "n", "last", "tag", "artifactType", "force"]), WORD | ANY),
    max_size=3,
).map(lambda pairs: "&".join(f"{key}={value}" for key, value in pairs))
METHOD = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
HEADERS = st.dictionaries(
    st.sampled_from(["Range", "Content-Range", "Content-Type", "If-None-Match", "Accept", "X-Request-Id", "Expect"]),
    ANY | st.sampled_from(["bytes=0-1", "0-3", OCI_MANIFEST, "*", "100-continue"]),
    max_size=3,
)
BODY = st.none() | st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", json.dumps({"schemaVersion": 2}).encode()])


class Hammered:
    """A daemon, the sessions it has answered with, and how many files it held before."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.client: Client = daemon.start()
        self.sessions: list[str] = []
        for content in (b"blob", bytes(100_000)):
            self.client.send("POST", f"/v2/docker-internal/app/blobs/uploads/?digest={digest_of(content)}", content)
        self.client.send("GET", f"/v2/docker-internal/app/blobs/{digest_of(bytes(100_000))}")
        self._before = self._descriptors()

    def left(self) -> tuple[int, int, int]:
        """Requests that run beside the one that asks, sessions nobody was told of, descriptors that are too many."""
        text = self.client.send("GET", "/metrics").body.decode()
        running, sessions = (
            int(float(re.search(rf"^artifactapi_{name} (\S+)$", text, re.MULTILINE)[1]))
            for name in ("requests_running", "upload_sessions")
        )
        known = sum(self.client.send("GET", path).status == 204 for path in self.sessions)
        return running - 1, sessions - known, max(0, self._descriptors() - self._before)

    def _descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._daemon.process.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def hammered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hammered]:
    """The daemon; after the last request nothing is left behind, and no traceback is in its log."""
    daemon = Daemon(tmp_path_factory.mktemp("hammered"))
    made = Hammered(daemon)
    yield made
    deadline = time.monotonic() + 20
    while made.left() != (0, 0, 0):
        assert time.monotonic() < deadline, made.left()
        time.sleep(0.05)
    daemon.stop()
    assert "Traceback" not in daemon.text()


@given(method=METHOD, path=PATH, query=QUERY, headers=HEADERS, body=BODY)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything(hammered: Hammered, method: str, path: str, query: str, headers: dict[str, str], body: bytes | None):
    """Whatever is asked, the answer comes and is no 5xx; errors carry the spec's JSON."""
    answer = hammered.client.send(method, f"{path}?{query}" if query else path, body, headers)
    assert answer.status < 500, (answer.status, answer.body)
    if answer.status == 202 and "Docker-Upload-UUID" in answer.headers:
        hammered.sessions.append(answer.headers["Location"])
    if answer.status >= 400 and method != "HEAD":
        assert answer.json["errors"][0]["code"]
