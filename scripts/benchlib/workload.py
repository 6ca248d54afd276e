"""What is asked of a registry; each measurement gives one number."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchlib.accounts import bearer_token
from benchlib.blobs import pull, push, push_bytes
from benchlib.client import NAME, BenchError, head_of, list_tags, request
from benchlib.content import Content, Source
from benchlib.daemons import Daemon
from benchlib.storm import storm

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TAGS = 10_000
PUSHES = 32  # side by side
TURNS = 40  # of two rates, each a twentieth as long: what else the machine does meets both alike
BEYOND = 3  # MiB above a round size: the last part of an upload is then a short one


class Workload:
    """The content, and what is done with it."""

    def __init__(self, source: Source, size: int, seconds: float) -> None:
        """`size` is that of a layer in MiB; `seconds` is how long requests are counted."""
        self._source = source
        self._size, self._quarter = size, max(1, size // 4)
        self._seconds = seconds
        self._kept = source.content(self._size)
        self._kept_quarter = source.content(self._quarter)
        self._manifest = b""
        self._token = ""
        self._failed: dict[str, int] = defaultdict(int)
        self._ends: dict[tuple[str, int], list[float]] = defaultdict(list)

    def prepare(self, daemon: Daemon, wanted: set[str]) -> None:
        """Push what the wanted items read."""
        port, config, layer = daemon.port, b'{"architecture":"amd64","os":"linux"}', b"a layer\n" * 8
        self._manifest = image_manifest(push_bytes(port, config), len(config), push_bytes(port, layer), len(layer))
        request(port, "PUT", f"/v2/{NAME}/manifests/v1", self._manifest, MANIFEST_TYPE).expect(201)
        if wanted & {"pull", "redirected"}:
            push(port, self._kept)
        if "pull16" in wanted:
            push(port, self._kept_quarter)
        if "tags" in wanted and "put" not in wanted:
            self.put(daemon)
        if "redirected" in wanted and daemon.name == "ours":
            redirect_pulls(port)
        if "bearer" in wanted:
            self._token = bearer_token(port)

    def push(self, daemon: Daemon) -> float:
        return self._push(daemon, self._source.content(self._size))

    def push_chunked(self, daemon: Daemon) -> float:
        return self._push(daemon, self._source.content(self._size), chunked=True)

    def push_many(self, daemon: Daemon) -> float:
        """The seconds until the last of them has ended."""
        contents = [self._source.content(self._quarter) for _ in range(PUSHES)]
        errors: list[Exception] = []

        def one(content: Content) -> None:
            try:
                push(daemon.port, content)
            except (BenchError, OSError) as error:
                errors.append(error)

        with ThreadPoolExecutor(PUSHES) as threads:
            seconds = timed(lambda: list(threads.map(one, contents)))
        if errors:
            print(f"{daemon.name}: {len(errors)} pushes failed, one of them: {errors[0]}", file=sys.stderr)
        self._failed[daemon.name] = len(errors)
        return seconds

    def failed(self, daemon: Daemon) -> float:
        """How many of those did: SeaweedFS may give up the copies that the peer makes of all of them at once."""
        return self._failed[daemon.name]

    def end(self, daemon: Daemon, size: int) -> float:
        """The seconds of the final PUT alone."""
        content = self._source.content(size + BEYOND)
        os.sync()
        seconds = push(daemon.port, content)
        self._ends[daemon.name, size].append(seconds)
        return seconds

    def growth(self, daemon: Daemon, small: int, large: int) -> float:
        """How many times as long the final PUT takes after so much more."""
        large_ends, small_ends = self._ends[daemon.name, large], self._ends[daemon.name, small]
        if not large_ends or not small_ends:
            raise BenchError("the final PUTs have to be measured with their growth: see --only")
        return statistics.median(large_ends) / statistics.median(small_ends)

    def pull(self, daemon: Daemon) -> float:
        return timed(lambda: pull(daemon.port, self._kept.digest))

    def pull_redirected(self, daemon: Daemon) -> float:
        return timed(lambda: pull(daemon.port, self._kept.digest, redirected=True))

    def pull16(self, daemon: Daemon) -> float:
        return timed(lambda: pull(daemon.port, self._kept_quarter.digest, times=16))

    def get(self, daemon: Daemon) -> float:
        return self._repeat(daemon, "GET")

    def head(self, daemon: Daemon) -> float:
        return self._repeat(daemon, "HEAD")

    def bearer(self, daemon: Daemon) -> float:
        """The rate of GETs with a token, as a ratio to that without, in turns."""
        shown = f"Authorization: Bearer {self._token}"
        kinds, part = ([shown], []), self._seconds / 20
        rates = [[self._repeat(daemon, "GET", *headers, seconds=part) for headers in kinds] for _ in range(TURNS)]
        with_token, without = map(statistics.median, zip(*rates, strict=True))
        return with_token / without

    def put(self, daemon: Daemon) -> float:
        """Every tag anew, each with a manifest PUT of its own."""
        return storm(daemon.port, (self._tagging(daemon.port, f"t{number:05}") for number in range(TAGS - 1)), 201)

    def tags(self, daemon: Daemon) -> float:
        """The best of five."""
        return min(timed(lambda: self._list_tags(daemon.port)) for _ in range(5))

    def _push(self, daemon: Daemon, content: Content, chunked: bool = False) -> float:
        return timed(lambda: push(daemon.port, content, chunked=chunked))

    def _list_tags(self, port: int) -> None:
        if (count := list_tags(port)) != TAGS:
            raise BenchError(f"tags/list has {count} tags, not {TAGS}")

    def _repeat(self, daemon: Daemon, method: str, *headers: str, seconds: float | None = None) -> float:
        data = head_of(daemon.port, method, f"/v2/{NAME}/manifests/v1", f"Accept: {MANIFEST_TYPE}", *headers)
        return storm(daemon.port, self._repeated(data, seconds or self._seconds), 200)

    def _repeated(self, data: bytes, seconds: float) -> Iterator[bytes]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield data

    def _tagging(self, port: int, tag: str) -> bytes:
        headers = f"Content-Type: {MANIFEST_TYPE}", f"Content-Length: {len(self._manifest)}"
        return head_of(port, "PUT", f"/v2/{NAME}/manifests/{tag}", *headers) + self._manifest


def make_source(directory: pathlib.Path, size: int, s3: bool) -> Source:
    """With as many bytes as the largest blob."""
    return Source(directory / "source", 4 * size + BEYOND if s3 else size)


def redirect_pulls(port: int) -> None:
    """Set it for the repo of ours; the peer has it in its configuration."""
    settings = b'{"settings": {"redirect": true}}'
    request(port, "PATCH", f"/api/v1/repos/{NAME.partition('/')[0]}", settings, "application/json").expect(200)


def image_manifest(config: str, config_size: int, layer: str, layer_size: int) -> bytes:
    def descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}

    layers = [descriptor("layer.v1.tar", layer, layer_size)]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": layers}
    return json.dumps(manifest | {"config": descriptor("config.v1+json", config, config_size)}).encode()


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    os.sync()  # what one registry left to write must not slow the other
    began = time.monotonic()
    action()
    return time.monotonic() - began
