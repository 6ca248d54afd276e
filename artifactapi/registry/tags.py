"""The lists of an image's tags and of the images."""

from __future__ import annotations

from artifactapi.metadata import tags as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.tags import Listing
from artifactapi.metadata.visible import Visible
from artifactapi.oci.errors import NameUnknown
from artifactapi.oci.names import ImageName
from artifactapi.oci.ranges import Page
from artifactapi.registry.elsewhere import Elsewhere, May, anyone
from artifactapi.registry.repos import Repos


class Tags:
    """Names in byte order, page by page."""

    def __init__(self, database: Database, repos: Repos, elsewhere: Elsewhere | None = None) -> None:
        self._database = database
        self._repos = repos
        self._elsewhere = elsewhere

    async def listing(self, name: ImageName, page: Page, may: May = anyone) -> Listing:
        """A page of the image's tags; end-point 8. Raises NameUnknown."""
        if self._elsewhere is not None:
            repo = await self._repos.require(name)
            if repo.repo_type != "local":
                return await self._elsewhere.tags(repo, name, page, may)
        listing = await rows.listing(self._database, name, page.last, page.count)
        if listing is None:
            raise NameUnknown("no such image", {"name": str(name)})
        return listing

    async def catalog(self, page: Page, visible: Visible = (), repo: str | None = None) -> Listing:
        """A page of the images that may be seen: of all repos, or as one repo calls them."""
        return await rows.catalog(self._database, page.last, page.count, visible, repo)
