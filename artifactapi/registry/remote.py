"""Remote repos: what is not here, or not fresh, is fetched from the upstream, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from artifactapi.metadata import cached
from artifactapi.metadata import manifests as rows
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata import tags as tag_rows
from artifactapi.metadata.blobs import Blob
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.manifests import Stored
from artifactapi.metadata.repos import Repo
from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import ManifestInvalid
from artifactapi.oci.manifest import Manifest, is_no_type, parse_manifest
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry import absent
from artifactapi.registry.fill import Fill
from artifactapi.registry.fills import Fills
from artifactapi.registry.source import Source, told
from artifactapi.registry.upstreams import Upstreams
from artifactapi.shield import Shared
from artifactapi.threads import Threads
from artifactapi.upstream import upstream
from artifactapi.upstream.errors import Broken, Denied, Limited, NotThere, UpstreamError

PATIENCE = 5.0
"""Seconds that an upstream may take while there is an old answer; what it says later counts from then on."""
Question = tuple[Source, ImageName, str]


class Remote:
    """What a remote repo does when the rows have no answer, or an old one."""

    def __init__(self, database: Database, threads: Threads, upstreams: Upstreams, fills: Fills, reactor: Any) -> None:
        self._database = database
        self._threads = threads
        self._upstreams = upstreams
        self._fills = fills
        self._reactor = reactor
        self._fetching: Shared[Question, Stored] = Shared()

    async def manifest(self, repo: Repo, name: ImageName, reference: Digest | Tag, known: Stored | None) -> Stored:
        """The manifest; `known` is what the tag stood for when the upstream was asked last.

        Raises ManifestUnknown, Denied, TooManyRequests, BadGateway, GatewayTimeout.
        """
        source = await self._upstreams.of(repo)
        if not source.settings.takes(name, tag_of(reference)):
            raise absent.manifest(reference)
        asking = Deferred.fromCoroutine(self._once(source, name, reference, known))
        if known is not None and is_recent(known, source):
            asking.addTimeout(PATIENCE, self._reactor, too_slow)
        try:
            return await asking
        except NotThere:
            if known is not None and isinstance(reference, Tag):
                await tag_rows.delete(self._database, name, reference)
            raise absent.manifest(reference) from None
        except UpstreamError as error:
            if known is not None and is_recent(known, source) and isinstance(error, Broken | Limited):
                return replace(known, source="stale")
            if known is None and is_unknown(error):
                raise absent.manifest(reference) from None
            raise told(error) from None

    async def _once(self, source: Source, name: ImageName, reference: Digest | Tag, known: Stored | None) -> Stored:
        async def ask() -> Stored:
            question = (source, name, str(reference))
            return await self._fetching.run(question, lambda: self._fetch(source, name, reference, known))

        return await source.once(("manifest", name, str(reference)), ask, None if known is None else known.age)

    async def blob(self, repo: Repo, name: ImageName, digest: Digest, fetch: bool = True) -> Blob:
        """The blob on its way here; where it is not to be fetched, what the upstream says of it.

        Raises BlobUnknown, and what `manifest` does.
        """
        source = await self._upstreams.of(repo)
        if not source.settings.takes(name, None):
            raise absent.blob(digest)
        try:
            return await self._blob(source, name, digest, fetch)
        except UpstreamError as error:
            raise (absent.blob(digest) if is_unknown(error) else told(error)) from None

    async def _blob(self, source: Source, name: ImageName, digest: Digest, fetch: bool) -> Blob:
        question = ("blob", name, str(digest))
        if not fetch:
            source.recall(question)
            # What HEAD is refused may be had by GET: some sign the address that they send us to for GET alone.
            head = ("head", name, str(digest))
            if described := await source.once(head, lambda: self._described(source, name, digest)):
                return described
        found = await source.once(question, lambda: self._fills.get(source, name, digest))
        return found if isinstance(found, Blob) else coming(digest, found.size, found)

    async def _described(self, source: Source, name: ImageName, digest: Digest) -> Blob | None:
        """What the upstream says of a blob that nobody fetches here; None if it does not say enough."""
        size = None
        if self._fills.running(source, name, digest) is None:
            with refusals():
                size = await source.ask(lambda: source.upstream.size(name.image, digest))
        return coming(digest, size) if size else None  # many mean the body of their answer with 0

    async def _fetch(self, source: Source, name: ImageName, reference: Digest | Tag, known: Stored | None) -> Stored:
        if known is None or isinstance(reference, Digest):
            found = await source.ask(lambda: source.upstream.manifest(name.image, reference))
            assert found is not None  # which it is only for an ETag
            return await self._keep(source, name, reference, found)
        if await self._digest(source, name, reference) != known.digest:
            etag = f'"{known.digest}"'  # as most registries write it
            found = await source.ask(lambda: source.upstream.manifest(name.image, reference, etag))
            if found is not None:
                return await self._keep(source, name, reference, found)
        await cached.confirm(self._database, source.repo, name, reference, known.digest)
        return replace(known, source="hit", age=0.0, fresh=True)

    async def _digest(self, source: Source, name: ImageName, tag: Tag) -> str:
        """What the upstream says that the tag stands for now; empty if it does not say it without the manifest.

        That it is not there, or denied, is believed of GET alone.
        """
        with refusals(), suppress(NotThere, Denied):
            return str(await source.ask(lambda: source.upstream.digest(name.image, tag)) or "")
        return ""

    async def _keep(self, source: Source, name: ImageName, reference: Digest | Tag, found: upstream.Manifest) -> Stored:
        digest, manifest = await self._threads.run(checked, reference, found)

        async def work(transaction: Transaction) -> None:
            if not await repo_rows.hold(transaction, source.repo):
                return  # another upstream has to say what belongs to the name
            image = await rows.image_id(transaction, name, "remote")
            assert image is not None  # the repo is held
            await rows.put(transaction, image, digest, manifest, found.content)
            if isinstance(reference, Tag):
                await tag_rows.put(transaction, image, [reference.name], digest)
                await cached.checked(transaction, image, reference.name)

        await self._database.transaction(work)
        return Stored(str(digest), manifest.media_type, len(found.content), found.content, "miss")


@contextmanager
def refusals() -> Iterator[None]:
    """Lets it be that an upstream does not answer HEAD: then GET has to do."""
    try:
        yield
    except Broken as error:
        if not error.is_refusal:
            raise


def coming(digest: Digest, size: int, fill: Fill | None = None) -> Blob:
    """A blob that is not here yet."""
    return Blob(digest, size, None, None, source="miss", fill=fill)


def checked(reference: Digest | Tag, found: upstream.Manifest) -> tuple[Digest, Manifest]:
    """Its digest, and what it says. For a thread. Raises Broken for one that is not what was asked for."""
    said = reference if isinstance(reference, Digest) else found.digest
    digest = digest_of(found.content, said.algorithm if said is not None else "sha256")
    if said is not None and said != digest:
        raise Broken("malformed", "the manifest does not have its digest")
    try:
        # Where a plain file server is the upstream, only the manifest itself says what it is.
        return digest, parse_manifest(found.content, None if is_no_type(found.media_type) else found.media_type)
    except ManifestInvalid:
        raise Broken("malformed", "the manifest is none that we know") from None


def is_unknown(error: UpstreamError) -> bool:
    """Whether the upstream has no such thing, or no word for it: a name or a reference that it does not take."""
    return isinstance(error, NotThere) or error.status in (400, 405, 406, 414)


def is_recent(known: Stored, source: Source) -> bool:
    """Whether an old answer is better than none."""
    return (known.age or 0.0) <= source.settings.max_stale


def too_slow(result: object, seconds: float) -> NoReturn:
    """What happens then."""
    raise Broken("timeout")


def tag_of(reference: Digest | Tag) -> str | None:
    """The tag's name; None for a digest."""
    return reference.name if isinstance(reference, Tag) else None
