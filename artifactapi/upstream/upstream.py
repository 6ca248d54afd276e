"""An upstream registry, as a remote repo sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from artifactapi.oci.descriptors import Fields, parse_descriptor
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import ManifestInvalid, TagInvalid
from artifactapi.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, MAX_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import Tag
from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.download import Download, download
from artifactapi.upstream.errors import Broken, NotThere
from artifactapi.upstream.lists import Lists, entries
from artifactapi.upstream.origin import Origin
from artifactapi.upstream.requests import Requests
from artifactapi.upstream.wire import Observe

ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT, "*/*"))
"""Everything, but without these names old registries convert to Docker's schema 1."""
_NO_REFERRERS = (400, 405, 501)  # beside 404, what registries without the referrers API answer


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it came: nobody has compared its digest, which is what the upstream says, if anything."""

    digest: Digest | None
    media_type: str
    content: bytes = field(repr=False)
    etag: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """What an upstream says of a manifest; the size is in bytes."""

    digest: Digest | None
    media_type: str
    size: int | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class TagPage:
    """Tags in the upstream's order, and whether there are others behind them."""

    tags: list[Tag]
    more: bool


class Upstream:
    """The client of one upstream. `name` is an image's, as it is known here.

    All methods raise NotThere, Denied, Limited and Broken.
    """

    def __init__(self, origin: Origin, connections: Connections, threads: Threads, observe: Observe) -> None:
        self._requests = Requests(origin, connections, observe)
        self._lists = Lists(self._requests, threads)

    async def manifest(self, name: str, reference: Digest | Tag, etag: str | None = None) -> Manifest | None:
        """A manifest of up to 4 MiB; None if it is still the one with that ETag."""
        address = self._requests.address(name, f"manifests/{reference}")
        headers = {"Accept": ACCEPT, **({"If-None-Match": etag} if etag else {})}
        answer = await self._requests.send("manifest", "GET", name, address, headers)
        if etag and answer.status == 304:
            answer.body.discard()
            return None
        answer.require(200)
        content = await self._requests.wire.content(answer, MAX_MANIFEST)
        return Manifest(answer.digest, answer.media_type, content, answer.header("etag"))

    async def head(self, name: str, reference: Digest | Tag) -> Head:
        """The same without its content, which some upstreams do not count against their limits."""
        address = self._requests.address(name, f"manifests/{reference}")
        answer = await self._requests.send("head", "HEAD", name, address, {"Accept": ACCEPT})
        answer.require(200)
        return Head(answer.digest, answer.media_type, answer.size, answer.header("etag"))

    async def blob(self, name: str, digest: Digest, start: int = 0) -> Download:
        """The bytes of a blob from `start` on, or from 0 if the upstream knows no ranges: the Download says which."""
        address = self._requests.address(name, f"blobs/{digest}")
        headers = {"Accept": "*/*", **({"Range": f"bytes={start}-"} if start else {})}
        return download(await self._requests.send("blob", "GET", name, address, headers), start)

    async def tags(self, name: str, n: int, last: str = "") -> TagPage:
        """Up to `n` tags that follow `last` in the upstream's order, which need not be that of the bytes."""
        page = _Tags(n, last)
        address = self._requests.address(name, "tags/list").asking(n=str(n), last=last or None)
        more = await self._lists.read("tags", name, address, "application/json", page.take)
        return TagPage(page.tags[:n], more or len(page.tags) > n)

    async def referrers(self, name: str, digest: Digest, artifact_type: str | None = None) -> list[Fields] | None:
        """The descriptors of all that refers to a manifest; None if the upstream has no such API."""
        found = _Referrers(artifact_type)
        address = self._requests.address(name, f"referrers/{digest}").asking(artifactType=artifact_type)
        try:
            await self._lists.read("referrers", name, address, OCI_INDEX, found.take)
        except NotThere:
            return None
        except Broken as error:
            if error.status in _NO_REFERRERS or (error.kind == "malformed" and error.status == 200):
                return None
            raise
        return found.descriptors


class _Tags:
    """The tags behind `last`. An upstream that does not know `last` begins with the first one again."""

    def __init__(self, n: int, last: str) -> None:
        self.tags: list[Tag] = []
        self._n = n
        self._last = last

    def take(self, page: Fields) -> bool:
        """The next page; whether there are enough."""
        for name in entries(page, "tags"):
            if name == self._last:
                self.tags.clear()
            elif tag := _tag(name):
                self.tags.append(tag)
        return len(self.tags) >= self._n


class _Referrers:
    """The descriptors of the type that is wanted: not every upstream filters."""

    def __init__(self, artifact_type: str | None) -> None:
        self.descriptors: list[Fields] = []
        self._wanted = artifact_type

    def take(self, page: Fields) -> bool:
        """The next page; all are wanted."""
        for entry in entries(page, "manifests"):
            if isinstance(entry, dict) and self._wanted in (None, entry.get("artifactType")) and _well_formed(entry):
                self.descriptors.append(entry)
        return False


def _tag(name: object) -> Tag | None:
    try:
        return Tag.parse(name) if isinstance(name, str) else None
    except TagInvalid:
        return None


def _well_formed(entry: Fields) -> bool:
    try:
        parse_descriptor(entry, "manifests")
    except ManifestInvalid:
        return False
    return True
