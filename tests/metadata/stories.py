"""What the tests of rows begin with: names, sessions, blobs, manifests, and transactions that are held open."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from artifactapi.metadata import manifests, repos, tags, uploads
from artifactapi.metadata.database import Database, Queryable, Transaction
from artifactapi.metadata.uploads import Session
from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest, Reference
from artifactapi.oci.names import ImageName

NAME = ImageName("docker-internal", "team/app")
OTHER = ImageName("docker-internal", "team/other")
ELSEWHERE = ImageName("other", "team/app")
NOWHERE = ImageName("nowhere", "team/app")


async def make_repos(database: Database) -> None:
    """The repos of NAME and ELSEWHERE."""
    for name in (NAME.repo, ELSEWHERE.repo):
        assert await repos.create(database, name, "docker", "local", {})


def digest(text: str) -> Digest:
    """The digest of a text."""
    return digest_of(text.encode())


def session(name: ImageName = NAME, **fields: Any) -> Session:
    """A session that is not in the database."""
    key = uuid4()
    return replace(Session(uuid4(), name, "sha256", f"blobs/{key.hex[:2]}/{key}"), **fields)


async def started(db: Queryable, name: ImageName = NAME, size: int | None = None) -> Session:
    """A session claimed by its writer; `size`: with so many bytes in the store."""
    made = session(name)
    assert await uploads.start(db, made)
    claimed = await uploads.claim(db, name, made.id, None)
    assert claimed is not None
    if size is None:
        return claimed
    stored = replace(claimed, offset=size, content=None, hash_state=b"\0hash", store_state={"length": size})
    assert await uploads.advance(db, stored)
    return stored


async def finish(db: Queryable, session: Session, digest: Digest) -> str | None:
    """As the registry does it: the object is under the session's key."""
    inline = session.content is not None
    leftovers = inline and session.store_state is not None
    return await uploads.finish(db, session, digest, None if inline else session.key, leftovers)


async def push(db: Queryable, text: str, name: ImageName = NAME, size: int | None = None) -> Digest:
    """A blob of the image, inline or (`size`) in the store; its digest is the text's."""
    made = await started(db, name, size)
    content = text.encode()
    made = made if size is not None else replace(made, offset=len(content), content=content)
    assert await finish(db, made, digest(text)) is not None
    return digest(text)


def manifest(*references: Digest, kind: str = "layer", **fields: Any) -> Manifest:
    """A manifest that names these."""
    made = Manifest(
        media_type=OCI_INDEX if kind == "manifest" else OCI_MANIFEST,
        artifact_type=None,
        subject=None,
        annotations={},
        references=tuple(Reference(d, kind, 1) for d in references),  # type: ignore[arg-type]
    )
    return replace(made, **fields)


async def put_manifest(
    db: Queryable, text: str, *references: Digest, name: ImageName = NAME, kind: str = "layer", **fields: Any
) -> Digest:
    """A manifest of the image, whose content is the text as JSON."""
    content = json.dumps(text).encode()
    image = await manifests.image_id(db, name)
    assert image is not None
    made = Digest("sha256", sha256(content).hexdigest())
    await manifests.put(db, image, made, manifest(*references, kind=kind, **fields), content)
    return made


async def tagged(db, *names: str, text: str = "m", name: ImageName = NAME) -> None:
    """A manifest with these tags."""
    made = await put_manifest(db, text, name=name)
    await tags.put(db, await manifests.image_id(db, name), list(names), made)


async def together(*work: Awaitable[Any]) -> list[Any]:
    """Run coroutines at the same time; what each returned. The first error is raised."""
    done = await DeferredList([Deferred.fromCoroutine(w) for w in work], consumeErrors=True)  # type: ignore[arg-type]
    for _, result in done:
        if isinstance(result, Failure):
            result.raiseException()
    return [result for _, result in done]


class Held:
    """A transaction that has done its work, and is held open until it may commit."""

    def __init__(self, database: Database, work: Callable[[Transaction], Awaitable[Any]]) -> None:
        self._work = work
        self._may_end: Deferred[None] = Deferred()
        self.worked: Deferred[Any] = Deferred()
        self._ended = Deferred.fromCoroutine(database.transaction(self._run))

    async def _run(self, transaction: Transaction) -> Any:
        result = await self._work(transaction)
        self.worked.callback(result)
        await self._may_end
        return result

    async def commit(self) -> Any:
        """Let it end; what the work returned."""
        self._may_end.callback(None)
        return await self._ended
