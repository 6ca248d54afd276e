"""Manifests of an image: get, put, delete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from artifactapi.metadata import audit
from artifactapi.metadata import blobs as blob_rows
from artifactapi.metadata import manifests as rows
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata import tags as tag_rows
from artifactapi.metadata.audit import SYSTEM, By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.lookups import Lookups
from artifactapi.metadata.manifests import Stored
from artifactapi.metadata.repos import Repo
from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import Denied, DigestInvalid, ManifestBlobUnknown, OciError
from artifactapi.oci.globs import matches
from artifactapi.oci.manifest import Manifest, parse_manifest
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry import absent
from artifactapi.registry.elsewhere import Elsewhere, May, anyone
from artifactapi.registry.repos import Repos, read_only
from artifactapi.threads import Threads

SMALL = 64 * 1024
"""Bytes of a manifest that are parsed on the reactor; more go to a thread."""
MOST_FETCHED = 100
"""Blobs, and manifests, of one manifest that upstreams are asked for when it is pushed."""
DEEPEST = 2
"""Levels of manifests below an index that are fetched with it."""


class Manifests:
    """Manifests are kept byte for byte, and accepted only if all they name is there."""

    def __init__(self, database: Database, threads: Threads, repos: Repos, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._database = database
        self._threads = threads
        self._repos = repos
        self._lookups = Lookups(database, rows.find_all)

    async def get(self, name: ImageName, reference: Digest | Tag, may: May = anyone) -> Stored:
        """The manifest as it was pushed (end-point 3): one statement, where it is here. `may`: whether the caller may
        pull from a member of a virtual repo. Raises ManifestUnknown, NameUnknown, and what an upstream fails with."""
        stored = await self._lookups.get((name, reference))
        if stored is None or not stored.fresh:
            repo = await self._repos.require(name)
            if self._elsewhere is None or repo.repo_type == "local":
                raise absent.manifest(reference)
            stored = await self._elsewhere.manifest(repo, name, reference, stored, may)
        if self._elsewhere is not None and stored.source in ("hit", "stale"):
            self._elsewhere.uses.add(name, stored.digest)
        return stored

    async def put(
        self,
        name: ImageName,
        reference: Digest | Tag,
        content: bytes,
        content_type: str | None,
        tags: Sequence[Tag],
        by: By = SYSTEM,
        others: Sequence[ImageName] = (),
    ) -> tuple[Digest, Manifest]:
        """Store it under its digest, and let `tags` and a `reference` that is one stand for it; 7a and 7b.

        `others`: images that its client sees as this one. Blobs and manifests that only they have, or their upstreams,
        are taken from there: it was told that they are there.

        Raises ManifestInvalid, ManifestBlobUnknown, DigestInvalid, NameUnknown, Denied for an immutable tag.
        """
        digest, manifest = await self._checked(content, content_type, reference)
        if others:
            await self._fetch(name, manifest, by, others, DEEPEST)
        names = sorted({str(tag) for tag in (*tags, *([reference] if isinstance(reference, Tag) else []))})
        await self._keep(name, content, (digest, manifest), names, by, others)
        return digest, manifest

    async def _checked(
        self, content: bytes, content_type: str | None, reference: Digest | Tag
    ) -> tuple[Digest, Manifest]:
        if len(content) <= SMALL:
            return check(content, content_type, reference)
        return await self._threads.run(check, content, content_type, reference)

    async def _fetch(
        self, name: ImageName, manifest: Manifest, by: By, others: Sequence[ImageName], levels: int
    ) -> None:
        """Have here what it names, as far as one of `others` has it."""
        if self._elsewhere is None:
            return
        for blob in (await blob_rows.missing(self._database, name, blobs_of(manifest)))[:MOST_FETCHED]:
            await self._elsewhere.virtual.fetch(others, blob)
        for child in (await rows.missing(self._database, name, children_of(manifest)))[:MOST_FETCHED] if levels else ():
            with suppress(OciError):
                found = await self._elsewhere.virtual.find(others, child)
                checked = await self._checked(found.content, found.media_type, child)
                await self._fetch(name, checked[1], by, others, levels - 1)
                await self._keep(name, found.content, checked, [], by, others)

    async def _keep(
        self,
        name: ImageName,
        content: bytes,
        checked: tuple[Digest, Manifest],
        names: list[str],
        by: By,
        others: Sequence[ImageName],
    ) -> None:
        digest, manifest = checked

        async def work(transaction: Transaction) -> None:
            image = await rows.image_id(transaction, name)
            if image is None:
                await self._repos.require(name)  # a repo that takes no writes, or none at all
                raise read_only(name.repo)
            if others:
                await link_from(transaction, name, others, manifest)
            await require_references(transaction, image, manifest)
            await rows.put(transaction, image, digest, manifest, content)
            moved = await put_tags(transaction, name, image, names, digest) if names else []
            under: Sequence[str | None] = names or [None]
            pushed = [Event("manifest.push", name.repo, name.image, tag, str(digest)) for tag in under]
            await audit.record(transaction, by, *pushed, *moved)

        await self._database.transaction(work)

    async def delete(self, name: ImageName, reference: Digest | Tag, by: By = SYSTEM) -> None:
        """A tag: the tag alone. A digest: the manifest and its tags. End-point 9.

        Raises ManifestUnknown, NameUnknown, Unsupported, Denied for an immutable tag.
        """
        repo = await self._repos.require_delete(name)

        async def work(transaction: Transaction) -> None:
            if isinstance(reference, Tag):
                refuse_immutable(repo, [reference.name])
                deleted = await tag_rows.delete(transaction, name, reference)
                event = Event("tag.delete", name.repo, name.image, tag=reference.name)
            else:
                tags = await tag_rows.of(transaction, name, reference)
                refuse_immutable(repo, tags)
                deleted = await rows.delete(transaction, name, reference)
                detail = {"tags": tags} if tags else {}
                event = Event("manifest.delete", name.repo, name.image, digest=str(reference), detail=detail)
            if not deleted:
                raise absent.manifest(reference)
            await audit.record(transaction, by, event)

        await self._database.transaction(work)


def check(content: bytes, content_type: str | None, reference: Digest | Tag) -> tuple[Digest, Manifest]:
    """Parse a manifest and compare its digest with the one it was pushed under."""
    if isinstance(reference, Tag):
        return digest_of(content), parse_manifest(content, content_type)
    digest = digest_of(content, reference.algorithm)
    if digest != reference:
        detail = {"digest": str(reference), "actual": str(digest)}
        raise DigestInvalid("the manifest does not have this digest", detail)
    return digest, parse_manifest(content, content_type)


async def put_tags(
    transaction: Transaction, name: ImageName, image: int, tags: list[str], digest: Digest
) -> list[Event]:
    """Let them stand for the manifest; those that stood for another one, for the audit. Raises Denied."""
    repo = await repo_rows.find(transaction, name.repo)
    fixed = [tag for tag in tags if repo is not None and is_immutable(repo, tag)]
    before = await tag_rows.put(transaction, image, tags, digest, fixed)
    if len(before) < len(tags):
        raise immutable(min(set(tags) - set(before)))
    return [
        Event("tag.move", name.repo, name.image, tag, str(digest), {"from": old})
        for tag, old in sorted(before.items())
        if old not in (None, str(digest))
    ]


def is_immutable(repo: Repo, tag: str) -> bool:
    """Whether the tag stays what it is, once it is there."""
    return any(matches(glob, tag) for glob in repo.settings.get("immutable_tags", ()))


def refuse_immutable(repo: Repo, tags: Sequence[str]) -> None:
    """Raises Denied, if one of them stays what it is."""
    for tag in tags:
        if is_immutable(repo, tag):
            raise immutable(tag)


def immutable(tag: str) -> Denied:
    """The error for a tag that stays what it is."""
    return Denied(f"tag {tag!r} is immutable in this repo", {"tag": tag})


async def link_from(transaction: Transaction, name: ImageName, others: Sequence[ImageName], manifest: Manifest) -> None:
    """Mount what the image lacks of its blobs from the first of the others that has it here."""
    for digest in await blob_rows.missing(transaction, name, blobs_of(manifest)):
        for source in others:
            if source != name and await blob_rows.mount(transaction, name, digest, source):
                break


def blobs_of(manifest: Manifest) -> list[Digest]:
    """The blobs that it names, each once, by digest."""
    return sorted({r.digest for r in manifest.references if r.kind != "manifest"}, key=str)


def children_of(manifest: Manifest) -> list[Digest]:
    """The manifests that it names, each once, by digest."""
    return sorted({r.digest for r in manifest.references if r.kind == "manifest"}, key=str)


async def require_references(transaction: Transaction, image: int, manifest: Manifest) -> None:
    """All that it names is linked to the image, and stays so until the transaction ends. Raises ManifestBlobUnknown."""
    children = list(map(str, children_of(manifest)))
    blobs = list(map(str, blobs_of(manifest)))
    present = await rows.lock_present(transaction, image, children) if children else set()
    if blobs:
        present |= await blob_rows.lock_linked(transaction, image, blobs)
    missing = [digest for digest in (*blobs, *children) if digest not in present]
    if missing:
        raise ManifestBlobUnknown("the manifest names content that this image does not have", {"missing": missing[:50]})
