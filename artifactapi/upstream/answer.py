"""The answer to one request: its status, its headers, and a body that has yet to come."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import DigestInvalid
from artifactapi.upstream.body import Body
from artifactapi.upstream.errors import Broken, Denied, Limited, NotThere, UpstreamError

MOST_WAIT = 86_400
"""Seconds that a Retry-After counts for at most."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_REMAINING = re.compile(r"\s*([0-9]{1,18})")
_VISIBLE = re.compile(r"[\x20-\x7e]{1,8192}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)", re.IGNORECASE)


class Answer:
    """What came back. Whoever has one reads its body, discards it or closes it."""

    def __init__(self, response: IResponse, body: Body) -> None:
        self.status: int = response.code
        self.body = body
        self.length: int | None = None if response.length is UNKNOWN_LENGTH else response.length
        self._headers = response.headers
        response.deliverBody(body)

    def headers(self, name: str) -> list[str]:
        """All values of a header that are printable ASCII."""
        values = [value.decode("latin-1") for value in self._headers.getRawHeaders(name.encode("ascii"), ())]
        return [value for value in values if _VISIBLE.fullmatch(value)]

    def header(self, name: str) -> str | None:
        """The first of them."""
        return next(iter(self.headers(name)), None)

    def require(self, *statuses: int) -> None:
        """Raises what another status means: NotThere, Denied, Limited, Broken. The body is discarded then."""
        if self.status not in statuses:
            self.body.discard()
            raise self._error()

    async def content(self, most: int, seconds: float) -> bytes:
        """The whole body. Raises Broken."""
        if self.length is not None and self.length > most:
            self.body.close()
            raise Broken("large", f"{self.length} bytes", self.status)
        return await self.body.read_all(most, seconds)

    @property
    def digest(self) -> Digest | None:
        """What the upstream says is the digest, if that is one."""
        try:
            return Digest.parse(self.header("docker-content-digest") or "")
        except DigestInvalid:
            return None

    @property
    def media_type(self) -> str:
        """Content-Type without parameters; empty if there is none."""
        return (self.header("content-type") or "").partition(";")[0].strip()

    @property
    def size(self) -> int | None:
        """Content-Length of the answer to a HEAD, where it does not delimit a body."""
        text = self.header("content-length") or ""
        return int(text) if _NUMBER.fullmatch(text) else None

    @property
    def remaining(self) -> int | None:
        """How many more requests the upstream allows for now."""
        match = _REMAINING.match(self.header("ratelimit-remaining") or "")
        return int(match[1]) if match else None

    @property
    def content_range(self) -> tuple[int, int, int | None] | None:
        """(first, last, total) of what a 206 holds, in bytes; both ends are inclusive, the total may be unknown."""
        match = _CONTENT_RANGE.fullmatch(self.header("content-range") or "")
        return (int(match[1]), int(match[2]), int(match[3]) if match[3] else None) if match else None

    def _error(self) -> UpstreamError:
        if self.status in (404, 410):
            return NotThere("the upstream does not have it", self.status)
        if self.status in (401, 403, 451):
            return Denied("the upstream does not let us", self.status)
        if self.status == 429:
            return Limited(retry_after(self.header("retry-after")))
        return Broken("status", str(self.status), self.status)


def retry_after(text: str | None) -> int | None:
    """Seconds from now that a Retry-After asks for, from 0 to MOST_WAIT; None if it says nothing."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return min(int(text), MOST_WAIT)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0, min(round(seconds), MOST_WAIT))
