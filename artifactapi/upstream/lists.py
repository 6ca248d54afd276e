"""Lists that come in pages, with a Link from each to the next."""

from __future__ import annotations

import re
from collections.abc import Callable

from artifactapi.oci.descriptors import Fields, decode
from artifactapi.oci.errors import ManifestInvalid
from artifactapi.threads import Threads
from artifactapi.upstream.address import Address
from artifactapi.upstream.answer import Answer
from artifactapi.upstream.errors import Broken
from artifactapi.upstream.requests import Requests
from artifactapi.upstream.wire import Operation

MOST_PAGES = 100
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of all pages of a list together."""
SMALL = 64 * 1024
"""Bytes that are read at once; more would hold up everybody else."""
_NEXT = re.compile(r'<([^<>]{1,4096})>[^,<>]*;\s*rel="?next"?', re.IGNORECASE)


class Lists:
    """Reads them."""

    def __init__(self, requests: Requests, threads: Threads) -> None:
        self._requests = requests
        self._threads = threads

    async def read(
        self, operation: Operation, image: str, address: Address, accept: str, take: Callable[[Fields], None]
    ) -> None:
        """Give `take` page after page, large ones in a thread. Raises UpstreamError; Broken with status 200 for a page
        that is none."""
        left = MOST_BYTES
        for _ in range(MOST_PAGES):
            answer = await self._requests.send(operation, "GET", image, address, {"Accept": accept})
            answer.require(200)
            content = await self._requests.wire.content(answer, left)
            left -= len(content)
            await self._read(content, take)
            follows = following(address, answer)
            if follows is None:
                return
            address = follows
        raise Broken("large", f"a list has more than {MOST_PAGES} pages", 200)

    async def _read(self, content: bytes, take: Callable[[Fields], None]) -> None:
        if len(content) <= SMALL:
            read(content, take)
        else:
            await self._threads.run(read, content, take)


def read(content: bytes, take: Callable[[Fields], None]) -> None:
    """Give `take` the page in these bytes. Raises Broken."""
    try:
        page = decode(content)
    except ManifestInvalid:
        raise Broken("malformed", "the page of a list is no JSON object", 200) from None
    take(page)


def following(address: Address, answer: Answer) -> Address | None:
    """Where the next page is: always on the same server."""
    for header in answer.headers("link"):
        match = _NEXT.search(header)
        if match is not None:
            try:
                return address.here(match[1])
            except ValueError:
                raise Broken("malformed", "the link to the next page is no address", 200) from None
    return None


def entries(page: Fields, name: str) -> list[object]:
    """The list in a page; null is an empty one. Raises Broken."""
    value = page.get(name, "")
    if value is not None and not isinstance(value, list):
        raise Broken("malformed", f"the page of a list has no {name}", 200)
    return value or []
