"""An upstream registry, as a remote repo sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from artifactapi.oci.descriptors import Fields, listed
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import TagInvalid
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
TAGS = 1000
"""Tags that are asked for at once: Distribution answers 400 to more."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it came: nobody has compared its digest, which is what the upstream says, if anything."""

    digest: Digest | None
    media_type: str
    content: bytes = field(repr=False)


class Upstream:
    """The client of one upstream. `name` is an image's, as it is known here.

    All methods raise NotThere, Denied, Limited and Broken.
    """

    def __init__(self, origin: Origin, connections: Connections, threads: Threads, observe: Observe) -> None:
        self._requests = Requests(origin, connections, observe)
        self._lists = Lists(self._requests, threads)
        self._threads = threads

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
        return Manifest(answer.digest, answer.media_type, content)

    async def digest(self, name: str, tag: Tag) -> Digest | None:
        """What a tag stands for, if the upstream says so; some do not count that against their limits."""
        address = self._requests.address(name, f"manifests/{tag}")
        answer = await self._requests.send("head", "HEAD", name, address, {"Accept": ACCEPT})
        answer.require(200)
        return answer.digest

    async def blob(self, name: str, digest: Digest, start: int = 0) -> Download:
        """The bytes of a blob from `start` on, or from 0 if the upstream knows no ranges: the Download says which."""
        address = self._requests.address(name, f"blobs/{digest}")
        headers = {"Accept": "*/*", **({"Range": f"bytes={start}-"} if start else {})}
        return download(await self._requests.send("blob", "GET", name, address, headers), start)

    async def size(self, name: str, digest: Digest) -> int | None:
        """How many bytes a blob has, if the upstream says so."""
        address = self._requests.address(name, f"blobs/{digest}")
        answer = await self._requests.send("head", "HEAD", name, address, {"Accept": "*/*"})
        answer.require(200)
        return answer.size

    async def tags(self, name: str) -> list[str]:
        """All tags, in the order of their bytes, whatever the upstream's is: not every one knows `last`."""
        found: set[str] = set()
        address = self._requests.address(name, "tags/list").asking(n=str(TAGS))
        await self._lists.read("tags", name, address, "application/json", lambda page: found.update(tags(page)))
        return await self._threads.run(sorted, found)

    async def referrers(self, name: str, digest: Digest, artifact_type: str | None = None) -> list[Fields] | None:
        """The descriptors of all that refers to a manifest; None if the upstream has no such API."""
        found: list[Fields] = []
        address = self._requests.address(name, f"referrers/{digest}").asking(artifactType=artifact_type)
        try:
            await self._lists.read(
                "referrers", name, address, OCI_INDEX, lambda page: found.extend(descriptors(page, artifact_type))
            )
        except NotThere:
            return None
        except Broken as error:
            if error.is_refusal or (error.kind == "malformed" and error.status == 200):
                return None
            raise
        return found


def tags(page: Fields) -> Iterator[str]:
    """Those in a page of a list. What can be no tag is left out. Raises Broken."""
    for name in entries(page, "tags"):
        with suppress(TagInvalid):
            yield Tag.parse(name if isinstance(name, str) else "").name


def descriptors(page: Fields, wanted: str | None) -> Iterator[Fields]:
    """Those in a page of referrers that are of the wanted type: not every upstream filters. Raises Broken."""
    for entry in entries(page, "manifests"):
        if (found := listed(entry)) is not None and wanted in (None, found.get("artifactType")):
            yield found
