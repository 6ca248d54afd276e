"""The V2 API: which handler a request goes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from klein import Response
from twisted.python.failure import Failure

from artifactapi.api.blobs import BlobRoutes
from artifactapi.api.downloads import Downloads
from artifactapi.api.errors import from_failure
from artifactapi.api.guard import Guard, Rule
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
Routes = Mapping[str, Mapping[bytes, tuple[Handler, Rule]]]
READS = (b"GET", b"HEAD")


class V2:
    """The routes of the Docker Registry HTTP API V2 and OCI distribution-spec."""

    def __init__(self, registry: Registry, downloads: Downloads, guard: Guard) -> None:
        self._guard = guard
        uploads, blobs = UploadRoutes(registry, guard), BlobRoutes(registry, downloads, guard)
        manifests, self._lists = ManifestRoutes(registry, guard), ListRoutes(registry, guard)
        self.routes: Routes = {
            "uploads": {b"POST": (uploads.start, Rule.PUSH)},
            "upload": {
                **reads(uploads.status, Rule.PUSH),
                b"PATCH": (uploads.append, Rule.PUSH),
                b"PUT": (uploads.finish, Rule.PUSH),
                b"DELETE": (uploads.cancel, Rule.PUSH),
            },
            "blob": {**reads(blobs.get, Rule.PULL), b"DELETE": (blobs.delete, Rule.DELETE)},
            "manifest": {
                **reads(manifests.get, Rule.PULL),
                b"PUT": (manifests.put, Rule.PUSH),
                b"DELETE": (manifests.delete, Rule.DELETE),
            },
            "tags": reads(self._lists.tags, Rule.PULL),
            "referrers": reads(self._lists.referrers, Rule.PULL),
            "catalog": reads(self._catalog, Rule.CATALOG),
            "base": reads(self._base, Rule.LOGIN),
        }

    async def render(self, request: Request) -> Response | None:
        """Answer a request whose path begins with /v2."""
        request.setHeader(b"docker-distribution-api-version", b"registry/2.0")
        route = parse_path(request.path)
        if route is None:
            raise NotFound("no such address")
        request.route = route.kind
        handlers = self.routes[route.kind]
        found = handlers.get(request.method)
        if found is None:
            allowed = ", ".join(sorted(method.decode() for method in handlers))
            raise Unsupported("method not allowed here", headers={"Allow": allowed})
        named = route.kind not in ("base", "catalog")
        request.spelled = route.name
        if b"ns" in request.args and self._guard.registry(request):
            request.setHeader("oci-namespace", request.args[b"ns"][0])
        name = request.name = ImageName.parse(self._guard.named(request, route.name)) if named else NOWHERE
        handler, rule = found
        await self._guard.admit(request, rule, name)
        target = self._guard.target(request, rule)
        if request.method in READS:
            request.body.discard()
            return await handler(request, target, route.reference)
        # A write goes on although its client hangs up: what arrived is kept, and nothing is left half done.
        return await detached(_run(handler, request, target, route.reference))

    async def _catalog(self, request: Request, _: ImageName, __: str) -> Response:
        return await self._lists.catalog(request)

    async def _base(self, request: Request, _: ImageName, __: str) -> Response:
        return respond(200, b"{}")


def reads(handler: Handler, rule: Rule) -> dict[bytes, tuple[Handler, Rule]]:
    """The same for GET and HEAD."""
    return dict.fromkeys(READS, (handler, rule))


NOWHERE = ImageName("", "")


async def _run(handler: Handler, request: Request, name: ImageName, reference: str) -> Response | None:
    request.site.writing.add(request)
    try:
        return await handler(request, name, reference)
    except ClientGone:  # what arrived is kept; it is no failure, although nobody may be there to be told
        return from_failure(Failure(), request.request_id)
    finally:
        request.site.writing.discard(request)
        request.body.discard()
