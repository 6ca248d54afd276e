"""The bytes of a blob as an upstream sends them, however often it breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater

from artifactapi.metadata.blobs import Key
from artifactapi.registry.fill import Fill
from artifactapi.registry.intake import ClientGone
from artifactapi.registry.source import Source
from artifactapi.upstream.download import Download
from artifactapi.upstream.errors import Broken, UpstreamError

TRIES = 5
"""How often a body that breaks is gone on with, without a byte in between."""
PAUSE = 1.0


class Arriving:
    """The rest of a blob from `offset` on, as the body of an upload; a body that breaks is gone on with where it broke.

    An upstream that knows no ranges begins anew: what is here already is passed over.
    """

    def __init__(
        self, source: Source, key: Key, download: Download, offset: int, fill: Fill | None, reactor: Any
    ) -> None:
        self._source = source
        self._key = key
        self._download = download
        self._fill = fill
        self._reactor = reactor
        self._offset = offset
        self._surplus = offset - download.start
        self._tries = TRIES
        self._stopped = False
        self.error: UpstreamError | None = None
        self.length = None if download.length is None else download.length - offset

    async def read(self) -> list[bytes]:
        """The next bytes; [] at the end. Raises ClientGone when the upstream does not go on: what came is kept."""
        while True:
            if self._surplus and self._offset == self._download.length:
                return []  # all is here: it need not come again to be passed over
            try:
                came = await self._download.read()
            except UpstreamError as error:
                await self._again(error)
            else:
                pieces = self._beyond(came)
                if pieces or not came:
                    return pieces

    def stop(self) -> None:
        """Go on no more, as if the upstream had gone for good."""
        self._stopped = True
        self._download.close()

    def close(self) -> None:
        """Close the connection."""
        self._download.close()

    def _beyond(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Those that are new."""
        if self._surplus:
            whole = b"".join(pieces)
            pieces = [whole[self._surplus :]] if len(whole) > self._surplus else []
            self._surplus -= min(self._surplus, len(whole))
        if pieces:
            self._tries = TRIES
            self._offset += sum(map(len, pieces))
            if self._fill is not None:
                self._fill.feed(pieces)
        return list(pieces)

    async def _again(self, error: UpstreamError) -> None:
        while self._tries and not self._stopped:
            self._tries -= 1
            try:
                self._download = await begin(self._source, self._key, self._offset)
            except UpstreamError as another:
                error = another
            else:
                self._surplus = self._offset - self._download.start
                if not self._stopped:
                    return
                self._download.close()
            await deferLater(self._reactor, PAUSE)
        self.error = error
        raise ClientGone


async def begin(source: Source, key: Key, offset: int) -> Download:
    """The blob from `offset` on, or from its first byte: of an upstream that knows no ranges, or if nothing is left.

    Raises UpstreamError.
    """
    name, digest = key
    try:
        return await source.upstream.blob(name.image, digest, offset)
    except Broken as error:
        if error.status != 416 or not offset:
            raise
    return await source.upstream.blob(name.image, digest, 0)
