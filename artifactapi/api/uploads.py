"""End-points 4, 5, 6, 11, 13, 14: upload sessions."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from klein import Response

from artifactapi.api.guard import Guard
from artifactapi.api.parameters import argument
from artifactapi.api.responses import respond
from artifactapi.api.site import Request
from artifactapi.metadata.uploads import Session
from artifactapi.oci.digest import ALGORITHMS, Digest
from artifactapi.oci.errors import BlobUploadUnknown, DigestInvalid, NameInvalid, NameUnknown, SizeInvalid
from artifactapi.oci.names import ImageName
from artifactapi.oci.ranges import parse_content_range
from artifactapi.registry.registry import Registry


class UploadRoutes:
    """Parse, call, respond."""

    def __init__(self, registry: Registry, guard: Guard) -> None:
        self._guard = guard
        self._uploads = registry.uploads
        self._blobs = registry.blobs

    async def start(self, request: Request, name: ImageName, _: str) -> Response:
        """POST: a session (4a, 4c), a whole blob (4b), or a mount (11)."""
        if (mounted := argument(request, b"mount")) is not None:
            digest = Digest.parse(mounted)
            if await self._mount(request, name, digest):
                return created(request, digest)
        elif (given := argument(request, b"digest")) is not None:
            digest = Digest.parse(given)
            await self._uploads.push(name, digest, request.body)
            return created(request, digest)
        return accepted(request, await self._uploads.start(name, algorithm(request)))

    async def _mount(self, request: Request, name: ImageName, digest: Digest) -> bool:
        given = argument(request, b"from")
        source = parse_source(self._guard.named(request, given)) if given else None
        self._guard.require_source(request, request.name, source)
        if await self._blobs.mount(name, digest, source, request.caller.reachable):
            return True
        return source is not None and await self._blobs.mount_any(name, digest, self._guard.seen_as(request, source))

    async def append(self, request: Request, name: ImageName, reference: str) -> Response:
        """PATCH: a chunk at its place, or a stream."""
        upload_id, start = parse_upload_id(reference), chunk_start(request)
        return accepted(request, await self._uploads.append(name, upload_id, request.body, start))

    async def finish(self, request: Request, name: ImageName, reference: str) -> Response:
        """PUT: the rest, and the digest of it all."""
        digest = Digest.parse(argument(request, b"digest") or "")
        upload_id, start = parse_upload_id(reference), chunk_start(request)
        await self._uploads.finish(name, upload_id, digest, request.body, start)
        return created(request, digest)

    async def status(self, request: Request, name: ImageName, reference: str) -> Response:
        """GET: how far it is."""
        session = await self._uploads.status(name, parse_upload_id(reference))
        return respond(204, headers=progress(request, session))

    async def cancel(self, request: Request, name: ImageName, reference: str) -> Response:
        """DELETE: forget it."""
        await self._uploads.cancel(name, parse_upload_id(reference))
        return respond(204)


def algorithm(request: Request) -> str:
    """The digest algorithm announced for a session (4c), sha256 by default. Raises DigestInvalid."""
    announced = argument(request, b"digest-algorithm") or "sha256"
    if announced not in ALGORITHMS:
        raise DigestInvalid(f"digest-algorithm must be one of: {', '.join(ALGORITHMS)}")
    return announced


def parse_source(given: str) -> ImageName:
    """The image a mount names. An impossible name is one that has nothing."""
    try:
        return ImageName.parse(given)
    except (NameInvalid, NameUnknown):
        return ImageName("", "")


def chunk_start(request: Request) -> int | None:
    """Where a chunk begins; None for a stream. Raises BlobUploadInvalid, SizeInvalid."""
    chunk = parse_content_range(request.getHeader("content-range"))
    if chunk is None:
        return None
    start, end = chunk
    if request.body.length is not None and request.body.length != end - start + 1:
        raise SizeInvalid(
            "Content-Length and Content-Range differ",
            {"content_length": request.body.length, "content_range": end - start + 1},
        )
    return start


def parse_upload_id(reference: str) -> UUID:
    """The session's id. Raises BlobUploadUnknown for one that we never gave out."""
    try:
        return UUID(reference)
    except ValueError:
        raise BlobUploadUnknown("no such upload", {"upload": reference[:100]}) from None


def progress(request: Request, session: Session) -> dict[str, str]:
    """The headers that say where a session is."""
    return {
        "Location": f"/v2/{request.spelled}/blobs/uploads/{session.id}{namespace(request)}",
        "Range": f"0-{max(session.offset - 1, 0)}",
        "Docker-Upload-UUID": str(session.id),
    }


def namespace(request: Request) -> str:
    """What must be asked again with a session's address: the registry whose names the client uses."""
    given = argument(request, b"ns")
    return "" if given is None else f"?ns={quote(given, safe='')}"


def accepted(request: Request, session: Session) -> Response:
    """202: send more."""
    return respond(202, headers=progress(request, session))


def created(request: Request, digest: Digest) -> Response:
    """201: the blob is there."""
    return respond(
        201, headers={"Location": f"/v2/{request.spelled}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    )
