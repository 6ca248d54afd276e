"""The V2 API: which handler a request goes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from klein import Response

from artifactapi.api.blobs import BlobRoutes
from artifactapi.api.downloads import Downloads
from artifactapi.api.listings import ListRoutes
from artifactapi.api.manifests import ManifestRoutes
from artifactapi.api.responses import respond
from artifactapi.api.site import Request
from artifactapi.api.uploads import UploadRoutes
from artifactapi.oci.errors import NotFound, Unsupported
from artifactapi.oci.names import ImageName
from artifactapi.oci.routes import parse_path
from artifactapi.registry.intake import ClientGone
from artifactapi.registry.registry import Registry
from artifactapi.shield import detached

Handler = Callable[[Request, ImageName, str], Awaitable[Response | None]]
READS = (b"GET", b"HEAD")


class V2:
    """The routes of the Docker Registry HTTP API V2 and OCI distribution-spec."""

    def __init__(self, registry: Registry, downloads: Downloads) -> None:
        uploads, blobs = UploadRoutes(registry), BlobRoutes(registry, downloads)
        manifests, self._lists = ManifestRoutes(registry), ListRoutes(registry)
        self.routes: Mapping[str, Mapping[bytes, Handler]] = {
            "uploads": {b"POST": uploads.start},
            "upload": {
                b"GET": uploads.status,
                b"HEAD": uploads.status,
                b"PATCH": uploads.append,
                b"PUT": uploads.finish,
                b"DELETE": uploads.cancel,
            },
            "blob": {b"GET": blobs.get, b"HEAD": blobs.get, b"DELETE": blobs.delete},
            "manifest": {
                b"GET": manifests.get,
                b"HEAD": manifests.get,
                b"PUT": manifests.put,
                b"DELETE": manifests.delete,
            },
            "tags": {b"GET": self._lists.tags, b"HEAD": self._lists.tags},
            "referrers": {b"GET": self._lists.referrers, b"HEAD": self._lists.referrers},
            "catalog": {b"GET": self._catalog, b"HEAD": self._catalog},
            "base": {b"GET": self._base, b"HEAD": self._base},
        }

    async def render(self, request: Request) -> Response | None:
        """Answer a request whose path begins with /v2."""
        request.setHeader(b"docker-distribution-api-version", b"registry/2.0")
        route = parse_path(request.path)
        if route is None:
            raise NotFound("no such address")
        request.route = route.kind
        handlers = self.routes[route.kind]
        handler = handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(method.decode() for method in handlers))
            raise Unsupported("method not allowed here", headers={"Allow": allowed})
        name = ImageName.parse(route.name) if route.name or route.kind not in ("base", "catalog") else NOWHERE
        if request.method in READS:
            request.body.discard()
            return await handler(request, name, route.reference)
        # A write goes on although its client hangs up: what arrived is kept, and nothing is left half done.
        return await detached(_run(handler, request, name, route.reference))

    async def _catalog(self, request: Request, _: ImageName, __: str) -> Response:
        return await self._lists.catalog(request)

    async def _base(self, request: Request, _: ImageName, __: str) -> Response:
        return respond(200, b"{}")


NOWHERE = ImageName("", "")


async def _run(handler: Handler, request: Request, name: ImageName, reference: str) -> Response | None:
    request.site.writing.add(request)
    try:
        return await handler(request, name, reference)
    except ClientGone:  # what arrived is kept, and nobody is there to be told
        return respond(499)
    finally:
        request.site.writing.discard(request)
        request.body.discard()
