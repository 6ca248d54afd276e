"""A process that is killed between any two steps of an upload to S3, and another one that goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from artifactapi.gc import outbox
from artifactapi.objects.bucket import Bucket
from artifactapi.objects.s3 import S3Store
from artifactapi.objects.s3_writer import Memory
from artifactapi.oci.digest import digest_of
from artifactapi.oci.names import ImageName
from artifactapi.registry.registry import Registry
from tests.fleet.fleet import Fleet
from tests.registry.bodies import BIG, content_of, push
from tests.registry.steps import Died, SteppedDatabase, Steps, die_at, named
from tests.registry.test_crashes import BASE, STORIES, Story, go_on, push_all, put, read_again

CALLS = ("put", "begin", "part", "complete", "size", "read", "open", "delete", "delete_below")


class SteppedBucket:
    """A bucket whose calls are steps, as those of the store's own are too coarse."""

    def __init__(self, bucket: Bucket, steps: Steps) -> None:
        self._bucket = bucket
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        """A step, if it goes to the server."""
        call: Callable[..., Awaitable[Any]] = getattr(self._bucket, name)
        return (lambda *args: self._steps.take(name, call, *args)) if name in CALLS else call


@pytest.fixture
def rows_and_objects(dsn, seaweed, location, tmp_path) -> Fleet:
    """What the database and the bucket hold."""
    return Fleet(tmp_path, dsn, seaweed, location.prefix)


@pytest_twisted.async_yield_fixture
async def registry(database, s3_store, threads, rows_and_objects):
    """The use cases over S3. After the test rows and bytes agree, before and after a sweep."""
    made = Registry.over(database, s3_store, threads)
    await made.repos.ensure("docker-internal", "docker", "local")
    yield made
    rows_and_objects.check_balance()
    await database.query("UPDATE doomed_objects SET after = now()")
    await outbox.sweep(database, s3_store)
    rows_and_objects.check_clean()


@pytest_twisted.async_yield_fixture
async def stepped(location, database, threads):
    """Makes another process's registry over the same database and bucket, whose calls are steps."""
    bucket = Bucket(location, threads, 10)
    await bucket.start()

    def make(steps: Steps) -> Registry:
        store = S3Store(SteppedBucket(bucket, steps), Memory(64 * 1024 * 1024, 4))  # type: ignore[arg-type]
        return Registry.over(SteppedDatabase(database, steps), store, threads)  # type: ignore[arg-type]

    yield make


async def steps_of(registry: Registry, stepped: Callable[[Steps], Registry], story: Story) -> list[str]:
    """All places where a process may die in it."""
    steps, name = Steps(), ImageName("docker-internal", "ordered")
    session = await registry.uploads.start(name)
    await story(stepped(steps).uploads, name, session.id, BIG)
    return steps.taken


@pytest.mark.parametrize(
    "story, known",
    [*((story, False) for story in STORIES), (put, True), (push_all, True), (read_again, True)],
    ids=lambda value: value.__name__ if callable(value) else "known" if value else "new",
)
async def test_death(registry, stepped, database, s3_store, rows_and_objects, story, known):
    """Whatever step a process dies at, no row is without bytes, no bytes are without a row, and another one goes on."""
    steps = await steps_of(registry, stepped, story)
    assert len(steps) > 6
    for step in steps:
        name, content = ImageName("docker-internal", step.replace(" ", "/")), BIG + step.encode()
        kept = await push(registry, content if known else content[::-1], BASE)
        session = await registry.uploads.start(name)
        with named(step):
            with pytest.raises(Died):
                await story(stepped(die_at(step)).uploads, name, session.id, content)
            rows_and_objects.check_balance()
            await outbox.sweep(database, s3_store)
            await go_on(registry, name, session.id, content)
            rows_and_objects.check_balance()
            assert await content_of(registry, name, digest_of(content)) == content
            assert digest_of(await content_of(registry, BASE, kept)) == kept, "what was acknowledged before"
