"""A cold remote repo: when its first byte comes, and fifty clients at once; beside docker-registry as a proxy."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchlib.blobs import pull, push
from benchlib.client import connect, read_head, request
from benchlib.content import Content, Source
from benchlib.daemons import Daemon, start_ours, start_peer

NAME = "bench/app"
"""Of the image at the upstream and at the peer; here it is one in a remote repo."""
REMOTE = f"docker-internal/{NAME}"
CLIENTS = 50
MANY = 64  # MiB of the layer that they all pull
WORKERS = "2"


def measure_proxy(directory: pathlib.Path, size: int, rounds: int) -> bool:
    """Pull, and tell; whether every aim is reached. `size`: MiB of the layer whose first byte is waited for."""
    source = Source(directory / "source", size)
    with upstream(directory) as origin, proxies(directory, origin) as (ours, peer):
        print(f"a layer of {size} MiB, and one of {MANY} MiB for {CLIENTS} clients; medians of {rounds} rounds")
        own, first, theirs = (
            statistics.median(times) for times in first_bytes(origin, ours, peer, source, size, rounds)
        )
        together, peers, fetches = many(origin, ours, peer, source, rounds)
    lines = (
        ("first byte, upstream itself", f"{own * 1000:.0f} ms", "", True),
        ("first byte, ours", f"{first * 1000:.0f} ms", "<= + 50 ms", first <= own + 0.05),
        ("first byte, peer", f"{theirs * 1000:.0f} ms", "", True),
        (f"{CLIENTS} cold pulls, ours", f"{together:.2f} s", "", True),
        (f"{CLIENTS} cold pulls, peer", f"{peers:.2f} s", "", True),
        ("ours / peer", f"{together / peers:.2f}x", "<= 0.50x", together <= 0.5 * peers),
        ("requests of ours for the layer", f"{fetches:.0f}", "1", fetches == 1),
    )
    for what, value, aim, reached in lines:
        print(f"{what:32} {value:>12}   {aim:>10}   {('ok' if reached else 'SHORT') if aim else ''}")
    return all(reached for *_, reached in lines)


def first_bytes(
    origin: Daemon, ours: Daemon, peer: Daemon, source: Source, size: int, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds until the first byte of a layer that nobody has fetched yet, from each of the three."""
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(rounds):
        for daemon, name, taken in zip((origin, ours, peer), (NAME, REMOTE, NAME), times, strict=True):
            content = source.content(size)
            push(origin.port, content, name=NAME)
            taken.append(first_byte(daemon, name, content))
    return times


def first_byte(daemon: Daemon, name: str, content: Content) -> float:
    """Seconds from the request on; the rest is pulled as well, so that the next one is not in its way."""
    buffer = bytearray(1024 * 1024)
    began = time.monotonic()
    with connect(daemon.port, "GET", f"/v2/{name}/blobs/{content.digest}") as connection:
        left = read_head(connection).expect(200).length
        left -= connection.recv_into(buffer, 1)
        took = time.monotonic() - began
        while left and (received := connection.recv_into(buffer)):
            left -= received
    return took


def many(origin: Daemon, ours: Daemon, peer: Daemon, source: Source, rounds: int) -> tuple[float, float, float]:
    """Medians: seconds until all clients have the layer, from us and from the peer; and how often we asked for it."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    fetches = []
    for number in range(rounds):
        pairs = [("ours", ours, REMOTE), ("peer", peer, NAME)]
        for key, daemon, name in pairs if number % 2 == 0 else pairs[::-1]:
            content = source.content(MANY)
            push(origin.port, content, name=NAME)
            times[key].append(all_at_once(daemon, name, content))
            if key == "ours":
                fetches.append(origin.log.read_text().count(f'"GET /v2/{NAME}/blobs/{content.digest}"'))
    return statistics.median(times["ours"]), statistics.median(times["peer"]), max(fetches)


def all_at_once(daemon: Daemon, name: str, content: Content) -> float:
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for pulled in [pool.submit(pull, daemon.port, content.digest, name=name) for _ in range(CLIENTS)]:
            pulled.result()
    return time.monotonic() - began


@contextlib.contextmanager
def upstream(directory: pathlib.Path) -> Iterator[Daemon]:
    """What both fetch from: this project, since its log tells of each request."""
    (directory / "upstream").mkdir()
    with environment(ARTIFACTAPI_REPOS=f"{NAME.partition('/')[0]}=docker:local"):
        daemon = start_ours(directory / "upstream")
    with running(daemon):
        yield daemon


@contextlib.contextmanager
def proxies(directory: pathlib.Path, origin: Daemon) -> Iterator[tuple[Daemon, Daemon]]:
    """Ours, as two processes that share nothing but rows and files; and the peer."""
    address = f"http://127.0.0.1:{origin.port}"
    with environment(ARTIFACTAPI_REPOS="", ARTIFACTAPI_WORKERS=WORKERS):
        ours = start_ours(directory)
    with running(ours), environment(REGISTRY_PROXY_REMOTEURL=address):
        remote = {"package_type": "docker", "repo_type": "remote", "settings": {"upstream": address}}
        body = json.dumps({"name": REMOTE.partition("/")[0], **remote}).encode()
        request(ours.port, "POST", "/api/v1/repos", body, "application/json").expect(201)
        peer = start_peer(directory)
        with running(peer):
            yield ours, peer


@contextlib.contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    try:
        daemon.await_ready(300)
        yield
    finally:
        daemon.stop()


@contextlib.contextmanager
def environment(**given: str) -> Iterator[None]:
    """What a daemon that is started now finds in its environment."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
