"""The retention of each repo, applied."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from artifactapi.metadata import retention as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.garbage import Batch, Due
from artifactapi.oci.globs import regex
from artifactapi.registry.retention import Retention


async def tags(database: Database, count: int) -> Batch:
    """A batch of tags that no rule keeps."""
    batches = []
    for repo, _, setting in await rows.repos(database):
        kept = Retention.parse(setting)
        protect = [regex(glob) for glob in kept.protect]
        for rule in kept.tags:
            batches.append(await rows.tags(database, repo, regex(rule.pattern), rule.keep, protect, count))
    return total(batches)


async def manifests(database: Database, count: int) -> Batch:
    """A batch of manifests that nothing refers to."""
    batches = []
    for repo, _, setting in await rows.repos(database):
        kept = Retention.parse(setting)
        if kept.untagged is not None:
            work = partial(rows.manifests, repo=repo, grace=kept.untagged, count=count)
            batches.append(await database.transaction(work))
    return total(batches)


async def preview(database: Database, count: int) -> list[Due]:
    """What a run would take now, up to `count` of each rule."""
    due: list[Due] = []
    for repo, name, setting in await rows.repos(database):
        kept = Retention.parse(setting)
        protect = [regex(glob) for glob in kept.protect]
        for rule in kept.tags:
            due += await rows.old_tags(database, repo, name, regex(rule.pattern), rule.keep, protect, count)
        if kept.untagged is not None:
            due += await rows.old_manifests(database, repo, name, kept.untagged, count)
    return due


def total(batches: Sequence[Batch]) -> Batch:
    """All of them."""
    return Batch(sum(batch.seen for batch in batches), sum(batch.gone for batch in batches))
