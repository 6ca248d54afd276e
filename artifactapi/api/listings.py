"""End-points 8 and 12, and the catalogue: lists."""

from __future__ import annotations

from klein import Response

from artifactapi.api.guard import Guard
from artifactapi.api.parameters import argument
from artifactapi.api.responses import from_where, json_response, next_link, respond
from artifactapi.api.site import Request
from artifactapi.metadata.tags import Listing
from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import PaginationInvalid
from artifactapi.oci.names import ImageName
from artifactapi.oci.ranges import Page, parse_page
from artifactapi.registry.registry import Registry

MOST = 10_000
REFERRERS = 1000
INDEX = "application/vnd.oci.image.index.v1+json"


class ListRoutes:
    """Parse, call, respond."""

    def __init__(self, registry: Registry, guard: Guard) -> None:
        self._guard = guard
        self._tags = registry.tags
        self._referrers = registry.referrers

    async def tags(self, request: Request, name: ImageName, _: str) -> Response:
        """GET tags/list."""
        page = page_of(request)
        listing = await self._tags.listing(name, page, self._guard.may_pull(request))
        body = f'{{"name":"{request.spelled}","tags":{listing.names}}}'
        return respond(200, body.encode(), following(request, page, listing))

    async def catalog(self, request: Request) -> Response:
        """GET _catalog."""
        page = page_of(request)
        listing = await self._tags.catalog(page, request.caller.visible, self._guard.repo_behind(request))
        return respond(200, f'{{"repositories":{listing.names}}}'.encode(), following(request, page, listing))

    async def referrers(self, request: Request, name: ImageName, reference: str) -> Response:
        """GET referrers."""
        subject, wanted = Digest.parse(reference), argument(request, b"artifactType") or None
        page = parse_page(argument(request, b"n"), argument(request, b"last"), REFERRERS, REFERRERS)
        may = self._guard.may_pull(request)
        found = await self._referrers.listing(name, subject, clean(wanted), clean(page.last) or "", page.count, may)
        headers = from_where(found.source)
        if wanted is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        if found.more and found.descriptors:
            last = found.descriptors[-1]["digest"]
            headers |= next_page(request, n=page.count, last=last, artifactType=wanted)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found.descriptors}
        return json_response(200, index, headers, INDEX)


def page_of(request: Request) -> Page:
    """The page a listing is asked for. Raises PaginationInvalid."""
    page = parse_page(argument(request, b"n"), argument(request, b"last"), MOST, MOST)
    clean(page.last)
    return page


def clean(text: str | None) -> str | None:
    """The text, if Postgres can compare with it. Raises PaginationInvalid."""
    if text is not None and "\0" in text:
        raise PaginationInvalid("a NUL byte in the query")
    return text


def following(request: Request, page: Page, listing: Listing) -> dict[str, str]:
    """The headers of a page of a listing."""
    headers = from_where(listing.source)
    if listing.more and page.count:
        headers |= next_page(request, n=page.count, last=listing.last)
    return headers


def next_page(request: Request, **params: str | int | None) -> dict[str, str]:
    """The Link header to the next page, at the same registry."""
    return next_link(request.path.decode("ascii", "replace"), **params, ns=argument(request, b"ns"))
