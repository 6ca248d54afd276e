"""Bytes at hand, read as those of an object are."""

from __future__ import annotations

from zope.interface import implementer

from artifactapi.objects.interface import IObjectReader


@implementer(IObjectReader)
class BytesReader:
    """Gives them all at once."""

    descriptor = None
    start = 0
    rest = None

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = content

    async def read(self) -> bytes:
        """All of them; then b""."""
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        """Nothing to free."""
