"""Rows of repos, and what they hold."""

from __future__ import annotations

import pytest
import pytest_twisted

from artifactapi.metadata import blobs, repos, uploads
from artifactapi.metadata.repos import Usage
from tests.metadata.stories import (
    ELSEWHERE,
    NAME,
    OTHER,
    digest,
    make_repos,
    push,
    put_manifest,
    started,
    tagged,
    together,
)

BIG = 1_000_000


@pytest_twisted.async_yield_fixture
async def db(database):
    """A pool, with the repos."""
    await make_repos(database)
    yield database


async def test_create(db):
    """A repo is found as it was created; its name is taken from then on."""
    settings = {"allow_delete": False, "description": "naïve ☃"}
    made = await repos.create(db, "x", "docker", "local", settings)
    assert (made.name, made.package_type, made.repo_type, made.settings) == ("x", "docker", "local", settings)
    assert made.created_at == made.updated_at
    assert made.created_at.tzinfo is not None
    assert await repos.find(db, "x") == made
    assert await repos.create(db, "x", "docker", "local", {}) is None
    assert await repos.find(db, "y") is None


async def test_creates_at_the_same_time(db):
    """Of those who create a repo together one does; the others are told that there is one."""
    made = await together(*(repos.create(db, "x", "docker", "local", {}) for _ in range(8)))
    assert sum(repo is not None for repo in made) == 1


@pytest.mark.parametrize(
    "change, settings",
    [
        ({}, {"a": 1, "b": 2}),
        ({"a": 3}, {"a": 3, "b": 2}),
        ({"c": [1]}, {"a": 1, "b": 2, "c": [1]}),
        ({"a": None}, {"b": 2}),
        ({"a": None, "b": None, "c": None}, {}),
    ],
)
async def test_change(db, change, settings):
    """Settings are merged over those that are there; null takes one out."""
    made = await repos.create(db, "x", "docker", "local", {"a": 1, "b": 2})
    changed = await repos.change(db, "x", change)
    assert changed.settings == settings
    assert changed.created_at == made.created_at
    assert changed.updated_at > made.updated_at
    assert await repos.change(db, "y", change) is None


async def test_usage(db):
    """A repo's blobs are counted once each, however many of its images have them, and its manifests by their size."""
    await push(db, "x" * 10)
    await push(db, "big", size=BIG)
    await blobs.mount(db, OTHER, digest("big"), NAME)
    await push(db, "y" * 7, ELSEWHERE)
    await tagged(db, "v1", "v2", text="m")
    await put_manifest(db, "other", name=OTHER)
    repo, usage = await repos.usage(db, NAME.repo)
    assert repo == await repos.find(db, NAME.repo)
    assert usage == Usage(images=2, tags=2, manifests=2, blobs=2, bytes=10 + BIG + 3 + 7)
    assert (await repos.usage(db, ELSEWHERE.repo))[1] == Usage(1, 0, 0, 1, 7)
    assert await repos.usage(db, "nowhere") is None


async def test_listing(db):
    """Repos are listed by byte, page by page, with what they hold."""
    for name in ("a-b", "a.b", "ab", "a_b", "z"):
        await repos.create(db, name, "docker", "local", {})
    seen, last = [], ""
    while page := await repos.listing(db, last, 3):
        seen += page
        last = page[-1][0].name
    assert [repo.name for repo, _ in seen] == ["a-b", "a.b", "a_b", "ab", "docker-internal", "other", "z"]
    assert {usage for _, usage in seen} == {Usage(0, 0, 0, 0, 0)}


async def nothing(db) -> None:
    """A repo that nobody used."""


async def only_an_image(db) -> None:
    """An image whose one blob is gone."""
    await push(db, "x")
    await blobs.unlink(db, NAME, digest("x"))


@pytest.mark.parametrize(
    "story, empty", [(nothing, True), (only_an_image, True), (push, False), (put_manifest, False), (started, False)]
)
async def test_is_empty(db, story, empty):
    """A repo is empty if it holds no manifest, no blob and no upload."""
    await (story(db) if story in (nothing, only_an_image, started) else story(db, "x"))
    for name, expected in ((NAME.repo, empty), (ELSEWHERE.repo, True)):
        assert await repos.is_empty(db, await repos.lock(db, name)) is expected


async def test_delete(db, onlooker):
    """A repo goes with all its rows; blobs stay for whoever has them, and begun uploads' objects are in the outbox."""
    await push(db, "x")
    await push(db, "x", ELSEWHERE)
    await push(db, "big", size=BIG)
    await tagged(db, "v1")
    began, not_begun = await started(db, size=BIG), await started(db)
    kept = await started(db, ELSEWHERE, size=BIG)
    await repos.delete(db, await repos.lock(db, NAME.repo))
    assert await repos.find(db, NAME.repo) is None
    assert await repos.lock(db, NAME.repo) is None
    for table in ("manifests", "tags"):
        assert onlooker.value(f"SELECT count(*) FROM {table}") == 0
    assert await blobs.find(db, ELSEWHERE, digest("x")) is not None
    assert onlooker.rows("SELECT key FROM doomed_objects") == [(began.key,)]
    assert await uploads.find(db, NAME, not_begun.id) is None
    assert await uploads.find(db, ELSEWHERE, kept.id) == kept
