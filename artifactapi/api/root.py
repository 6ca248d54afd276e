"""The root of all addresses."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from klein import Response
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from artifactapi.api.errors import from_failure
from artifactapi.api.site import Request
from artifactapi.api.v2 import V2


@implementer(IResource)
class Root:
    """/v2/ to V2 itself, all others to Klein.

    The names in /v2/ hold slashes and stray words, so that a parser of its own reads them anyway; and Klein's way to
    a handler took as long as all the rest of a manifest GET.
    """

    isLeaf = True

    def __init__(self, v2: V2, others: IResource) -> None:
        self._v2 = v2
        self._others = others

    def render(self, request: Request) -> Any:
        """Answer, now or later."""
        if request.path.startswith(b"/v2/") or request.path == b"/v2":
            work = Deferred.fromCoroutine(answer(request, self._v2.render(request)))
            request.notifyFinish().addErrback(lambda _: work.cancel())
            return NOT_DONE_YET
        request.notifyFinish().addErrback(lambda _: request.body.discard())
        # Klein cannot decode other bytes than UTF-8's, and would not answer in JSON.
        request.postpath = [segment.decode("utf-8", "replace").encode() for segment in request.postpath or ()]
        return self._others.render(request)

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        """IResource's; never called on a leaf."""
        return self

    def putChild(self, path: bytes, child: Any) -> None:
        """IResource's; there are no children."""


async def answer(request: Request, work: Awaitable[Response | None]) -> None:
    """Send what a handler returns (None: it has sent all itself) or raises."""
    try:
        response = await work
    except Exception:  # CancelledError too: the log shows how it ended
        response = from_failure(Failure(), request.request_id)
        if request.startedWriting and not request._disconnected:
            # In the middle of a body an error would be taken for a part of it: its client sees a cut connection.
            request.transport.abortConnection()
            return
    if response is not None:
        send(request, response)
    if not request.finished and not request._disconnected:
        request.finish()


def send(request: Request, response: Response) -> None:
    """The status, the headers and the body."""
    request.setResponseCode(response.code)
    for name, value in response.headers.items():
        request.responseHeaders.setRawHeaders(name, [value] if isinstance(value, str | bytes) else value)
    if response.body and not request._disconnected:
        request.write(response.body)
