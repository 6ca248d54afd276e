"""End-points 3, 7, 9: manifests."""

from __future__ import annotations

from klein import Response

from artifactapi.api.guard import Guard
from artifactapi.api.responses import from_where, matches, respond
from artifactapi.api.site import Request
from artifactapi.metadata.manifests import Stored
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import ManifestTooLarge, TagInvalid, UriTooLong
from artifactapi.oci.manifest import MAX_MANIFEST
from artifactapi.oci.names import ImageName, Tag, parse_reference
from artifactapi.registry import absent
from artifactapi.registry.elsewhere import FAILURES
from artifactapi.registry.registry import Registry

MOST_TAGS = 1000


class ManifestRoutes:
    """Parse, call, respond."""

    def __init__(self, registry: Registry, guard: Guard) -> None:
        self._guard = guard
        self._manifests = registry.manifests

    async def get(self, request: Request, name: ImageName, reference: str) -> Response:
        """GET and HEAD, by tag or digest."""
        stored = await self._stored(request, name, parse_reference(reference))
        etag = f'"{stored.digest}"'
        headers = {
            "Docker-Content-Digest": stored.digest,
            "ETag": etag,
            "Content-Length": str(stored.size),
            **from_where(stored.source),
        }
        if matches(request.getHeader("if-none-match"), etag):
            return respond(304, headers=headers)
        return respond(200, stored.content, headers, stored.media_type)

    async def _stored(self, request: Request, name: ImageName, reference: Digest | Tag) -> Stored:
        try:
            return await self._manifests.get(name, reference, self._guard.may_pull(request))
        except FAILURES:
            # A push asks whether it has to push that: containerd gives up if it hears anything but 200 or 404.
            if request.method == b"HEAD" and self._guard.is_for_writing(request):
                raise absent.manifest(reference) from None
            raise

    async def put(self, request: Request, name: ImageName, reference: str) -> Response:
        """PUT under a tag, a digest, or a digest and several tags."""
        target, tags = parse_reference(reference), tag_arguments(request)
        too_large = ManifestTooLarge(f"a manifest has at most {MAX_MANIFEST} bytes")
        content = await request.body.read_all(MAX_MANIFEST, too_large)
        content_type = request.getHeader("content-type")
        by = self._guard.by(request)
        others = self._guard.seen_as(request, request.name)
        digest, manifest = await self._manifests.put(name, target, content, content_type, tags, by, others)
        headers: dict[str, str | list[str]] = {
            "Location": f"/v2/{request.spelled}/manifests/{digest}",
            "Docker-Content-Digest": str(digest),
        }
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject)
        if tags:
            headers["OCI-Tag"] = [str(tag) for tag in tags]
        return respond(201, headers=headers)

    async def delete(self, request: Request, name: ImageName, reference: str) -> Response:
        """DELETE a tag, or a manifest with its tags."""
        await self._manifests.delete(name, parse_reference(reference), self._guard.by(request))
        return respond(202)


def tag_arguments(request: Request) -> list[Tag]:
    """The tags of `?tag=a&tag=b` (7b), each once. Raises TagInvalid, UriTooLong."""
    given = list(dict.fromkeys(request.args.get(b"tag", [])))
    if len(given) > MOST_TAGS:
        raise UriTooLong(f"at most {MOST_TAGS} tags at once")
    try:
        return [Tag.parse(tag.decode("ascii")) for tag in given]
    except UnicodeDecodeError:
        raise TagInvalid("a tag is ASCII") from None
