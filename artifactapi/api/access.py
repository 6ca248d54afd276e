"""The request log and the request metrics: what is told of each request that ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from artifactapi.metrics import Metrics

log = Logger()
LOCAL = (b"local",)
METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))


def observer(metrics: Metrics, seconds: Callable[[], float]) -> Callable[[Any], None]:
    """A function for a request that ended, or whose client hung up."""

    def observe(request: Any) -> None:
        took = seconds() - request.started
        method = request.method.decode("ascii", "replace") if request.method in METHODS else "OTHER"
        metrics.request(request.route, method, request.code, took, request.body.received, request.sentLength)
        source = request.responseHeaders.getRawHeaders(b"x-artifact-source", LOCAL)[0]
        if source != LOCAL[0]:
            metrics.pulled(source.decode("ascii"), request.sentLength)
        log.info(
            '{client} "{method} {path}" {status} {sent} {seconds:.4f}s {request_id}{ended}',
            client=getattr(request.client, "host", "-"),
            method=method,
            path=request.path.decode("ascii", "backslashreplace"),
            status=request.code,
            received=request.body.received,
            sent=request.sentLength,
            seconds=took,
            request_id=request.request_id,
            route=request.route,
            actor=getattr(request.caller, "actor", "-"),
            ended="" if request.finished or is_whole(request) else " client gone",
        )

    return observe


def is_whole(request: Any) -> bool:
    """Whether the client hung up only after it had the whole answer."""
    announced = request.responseHeaders.getRawHeaders(b"content-length")
    return bool(announced) and announced[0] == b"%d" % request.sentLength
