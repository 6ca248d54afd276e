"""What tests do with a client of an upstream."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from artifactapi.oci.digest import Digest, digest_of
from artifactapi.upstream.download import Download
from artifactapi.upstream.errors import Broken, Kind
from tests.daemon import DEADLINE

DIGEST = digest_of(b"blob")


def begin(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Start it."""
    return Deferred.fromCoroutine(work)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition while the reactor runs."""
    from twisted.internet import reactor

    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.01)


async def whole(download: Download) -> bytes:
    """All of it."""
    pieces = []
    while more := await download.read():
        pieces += more
    return b"".join(pieces)


async def content(upstream: Any, digest: Digest = DIGEST, start: int = 0) -> bytes:
    """All of a blob."""
    return await whole(await upstream.blob("team/app", digest, start))


async def breaks(work: Coroutine[Any, Any, Any], kind: Kind, status: int | None = None) -> Broken:
    """The error that it raises, which is of this kind."""
    with pytest.raises(Broken) as raised:
        await work
    assert (raised.value.kind, raised.value.status) == (kind, status), raised.value
    return raised.value
