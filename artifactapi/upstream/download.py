"""The bytes of a blob on their way here."""

from __future__ import annotations

from artifactapi.upstream.answer import Answer
from artifactapi.upstream.errors import Broken


class Download:
    """The rest of a blob from `start` on, which is what was asked for, or 0; `length` is that of the whole blob.

    While nobody reads, the upstream waits.
    """

    def __init__(self, answer: Answer, start: int, length: int | None, coming: int | None) -> None:
        """`coming` is how many bytes the body must have, if anything said so."""
        self.start = start
        self.length = length
        self._body = answer.body
        self._coming = coming
        self._come = 0

    async def read(self) -> list[bytes]:
        """The next bytes, some hundreds of KiB at most; [] at the end. Raises Broken, `cut` if it ends early."""
        pieces = await self._body.read()
        self._come += sum(map(len, pieces))
        if self._coming is not None and (self._come > self._coming or (self._come < self._coming and not pieces)):
            self.close()
            raise Broken("malformed" if pieces else "cut", f"{self._come} bytes came of {self._coming}")
        return pieces

    def close(self) -> None:
        """Close the connection at once, unless the end was read. May be called twice."""
        self._body.close()


def download(answer: Answer, start: int) -> Download:
    """What an answer holds of a blob that was asked for from `start` on. Raises UpstreamError."""
    answer.require(200, 206) if start else answer.require(200)
    if answer.status == 200:
        return Download(answer, 0, answer.length, answer.length)
    try:
        length, coming = _partial(answer, start)
    except Broken:
        answer.body.close()
        raise
    return Download(answer, start, length, coming)


def _partial(answer: Answer, start: int) -> tuple[int | None, int]:
    """The length of the blob, and how much of it has to come."""
    content_range = answer.content_range
    if content_range is None:
        raise Broken("malformed", "a 206 without a Content-Range", 206)
    first, last, total = content_range
    # An end before the blob's is no error yet: what is missing is asked for when this has ended, too early.
    if first != start or last < first or (total is not None and last >= total):
        raise Broken("malformed", "not the range that was asked for", 206)
    if answer.length not in (None, last - first + 1):
        raise Broken("malformed", "Content-Range and Content-Length differ", 206)
    return total, (total or last + 1) - first
