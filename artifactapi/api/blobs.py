"""End-points 2 and 10: blobs."""

from __future__ import annotations

from collections.abc import Awaitable

from klein import Response

from artifactapi.api.downloads import Downloads
from artifactapi.api.guard import Guard
from artifactapi.api.responses import matches, respond
from artifactapi.api.site import Request
from artifactapi.metadata.blobs import Blob
from artifactapi.objects.interface import IObjectReader
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName
from artifactapi.oci.ranges import parse_range
from artifactapi.registry import absent
from artifactapi.registry.elsewhere import FAILURES
from artifactapi.registry.fill import FillReader
from artifactapi.registry.registry import Registry
from artifactapi.shield import detached

OCTETS = "application/octet-stream"


class BlobRoutes:
    """Parse, call, respond."""

    def __init__(self, registry: Registry, downloads: Downloads, guard: Guard) -> None:
        self._guard = guard
        self._blobs = registry.blobs
        self._downloads = downloads

    async def get(self, request: Request, name: ImageName, reference: str) -> Response | None:
        """GET and HEAD, whole or a range."""
        digest = Digest.parse(reference)
        is_known = matches(request.getHeader("if-none-match"), f'"{digest}"')
        blob = await self._blob(request, name, digest, not is_known)
        headers = {**describe(digest), "X-Artifact-Source": blob.source}
        if is_known:
            return respond(304, headers=headers)
        part = parse_range(wanted_range(request, headers["ETag"]), blob.size)
        start, length = part or (0, blob.size)
        headers["Content-Length"] = str(length)
        if part:
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{blob.size}"
        return await self._body(request, blob, 206 if part else 200, headers, start, length)

    async def _blob(self, request: Request, name: ImageName, digest: Digest, fetch: bool) -> Blob:
        may = self._guard.may_pull(request)
        if request.method != b"HEAD":
            return await self._blobs.find(name, digest, may, fetch)
        try:
            return await self._blobs.promise(name, digest, may)
        except FAILURES:
            if self._guard.is_for_writing(request):  # a push asks whether it can save an upload: it goes on without
                raise absent.blob(digest) from None
            raise

    async def delete(self, request: Request, name: ImageName, reference: str) -> Response:
        """DELETE: from this image."""
        await self._blobs.delete(name, Digest.parse(reference), self._guard.by(request))
        return respond(202)

    async def _body(
        self, request: Request, blob: Blob, code: int, headers: dict[str, str], start: int, length: int
    ) -> Response | None:
        if request.method == b"HEAD":
            return respond(code, b"", headers, OCTETS)
        if blob.content is not None:
            return respond(code, blob.content[start : start + length], headers, OCTETS)
        if (url := await self._blobs.url(blob)) is not None:
            return redirected(url, headers)
        opening = self._blobs.open(blob, start, length)
        # Detached: what a thread opens for a client that has hung up must be closed again.
        return await detached(self._send(request, code, {**headers, "Content-Type": OCTETS}, opening))

    async def _send(
        self, request: Request, code: int, headers: dict[str, str], opening: Awaitable[IObjectReader]
    ) -> None:
        reader = await opening
        request.setResponseCode(code)
        for key, value in headers.items():
            request.setHeader(key, value)
        if isinstance(reader, FillReader):  # bytes may take a while: until then, the headers
            request.write(b"")
            request.notifyFinish().addErrback(lambda _: reader.leave())
        await self._downloads.send(request, reader)


def wanted_range(request: Request, etag: str) -> str | None:
    """The Range of a GET, unless it is for another entity (RFC 9110, 13.1.5 and 14.2)."""
    if request.method == b"HEAD" or request.getHeader("if-range") not in (None, etag):
        return None
    return request.getHeader("range")


def redirected(url: str, headers: dict[str, str]) -> Response:
    """307: the client asks again there, with its Range if it had one. The address is good for a while only."""
    kept = {key: headers[key] for key in ("Docker-Content-Digest", "X-Artifact-Source")}
    return respond(307, b"", {**kept, "Location": url, "Cache-Control": "no-store"}, OCTETS)


def describe(digest: Digest) -> dict[str, str]:
    """The headers of content that can never change."""
    return {
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }
