"""Pushes, mounts, tags, deletions and sweeps in any order, against a model: nothing needed ever goes, all else does."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from artifactapi.gc.collector import Collector
from artifactapi.metrics import Metrics
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import ManifestBlobUnknown
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry.intake import INLINE
from artifactapi.registry.registry import Registry
from tests.gc.conftest import GRACES, HOUR
from tests.gc.images import has_blob, has_manifest, manifest, put
from tests.registry.bodies import Pieces, content_of, push

IMAGES = [ImageName("docker-internal", name) for name in ("a", "b/c")]
CONTENTS = [b"config", b"small", *(Random(n).randbytes(INLINE + n) for n in (1, 2, 3))]
TAGS = ["v1", "v2"]

# With 40, a sweep of links that ignores what manifests use is found out; with 8 it was not.
EXAMPLES = {"filesystem": 40, "s3": 15}

images = st.sampled_from(IMAGES)
contents = st.sampled_from(range(len(CONTENTS))).map(lambda number: CONTENTS[number])  # a short repr
tags = st.sampled_from(TAGS)
some = st.lists(contents, min_size=1, max_size=3, unique=True)


def now(work):
    """The result of a coroutine, for the thread of the machine."""
    return blockingCallFromThread(reactor, Deferred.fromCoroutine, work)


def machine(
    registry: Registry, collector: Collector, wait, check, untagged_days: int | None
) -> type[RuleBasedStateMachine]:
    """A machine over these parts, which are empty when it begins, and must be when it ends.

    `untagged_days`: the repo's retention of manifests that have no tag.
    """

    class Registries(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.time = 0.0
            self.promised: dict[tuple[ImageName, bytes], float] = {}
            self.manifests: dict[tuple[ImageName, bytes], tuple[bytes, ...]] = {}
            self.tags: dict[tuple[ImageName, str], bytes] = {}
            self.idle: dict[tuple[ImageName, bytes], float] = {}  # since when nothing refers to a manifest, if so

        def needed(self, image: ImageName, content: bytes) -> bool:
            """Whether the blob must be in the image."""
            used = any(where == image and content in blobs for (where, _), blobs in self.manifests.items())
            return used or self.time - self.promised.get((image, content), -1e9) < GRACES.uploads

        def may_go(self, image: ImageName, content: bytes) -> bool:
            """Whether the repo's retention does not keep the manifest."""
            tagged = any((where, value) == (image, content) for (where, _), value in self.tags.items())
            idle = self.time - self.idle[image, content]
            return untagged_days is not None and not tagged and idle >= untagged_days * 24 * HOUR

        def promise(self, image: ImageName, content: bytes) -> None:
            """A client was told that it is there."""
            self.promised[image, content] = self.time

        @rule(image=images, content=contents)
        def push(self, image, content):
            now(push(registry, content, image))
            self.promise(image, content)

        @rule(image=images, content=contents)
        def leave_a_session(self, image, content):
            session = now(registry.uploads.start(image))
            now(registry.uploads.append(image, session.id, Pieces(content), None))

        @rule(image=images, content=contents)
        def ask(self, image, content):
            needed = self.needed(image, content)
            if needed or now(has_blob(registry, digest_of(content), image)):
                now(registry.blobs.promise(image, digest_of(content)))
                self.promise(image, content)

        @rule(image=images, content=contents)
        def mount(self, image, content):
            needed = any(self.needed(source, content) for source in IMAGES)
            mounted = now(registry.blobs.mount(image, digest_of(content), None))
            assert mounted or not needed
            if mounted:
                self.promise(image, content)

        @rule(image=images, blobs=some, tag=st.none() | tags)
        def push_image(self, image, blobs, tag):
            for blob in blobs:
                self.push(image, blob)
            self.put_manifest(image, blobs, tag)

        @rule(image=images, blobs=some, tag=st.none() | tags)
        def put_manifest(self, image, blobs, tag):
            content = manifest(*blobs)
            needed = all(self.needed(image, blob) for blob in blobs)
            try:
                now(put(registry, content, tag, image))
            except ManifestBlobUnknown:
                assert not needed
                return
            self.manifests[image, content] = tuple(blobs)
            self.idle[image, content] = self.time
            if tag:
                self.untag(image, tag)
                self.tags[image, tag] = content

        def untag(self, image: ImageName, tag: str) -> bool:
            """The tag goes, or moves; whether it was there."""
            content = self.tags.pop((image, tag), None)
            if content is not None:
                self.idle[image, content] = self.time
            return content is not None

        @rule(image=images, tag=tags)
        def delete_tag(self, image, tag):
            if self.untag(image, tag):
                now(registry.manifests.delete(image, Tag(tag)))

        @rule(data=st.data())
        def delete_manifest(self, data):
            if self.manifests:
                image, content = data.draw(st.sampled_from(sorted(self.manifests, key=str)))
                now(registry.manifests.delete(image, digest_of(content)))
                self.forget(image, content)

        def forget(self, image: ImageName, content: bytes) -> None:
            """The manifest is gone, with its tags. Its blobs were needed until now."""
            for blob in self.manifests.pop((image, content)):
                self.promise(image, blob)
            self.tags = {key: value for key, value in self.tags.items() if (key[0], value) != (image, content)}

        @rule(hours=st.sampled_from([0.5, 7, 20, 31, 50]))
        def wait(self, hours):
            now(wait(hours * HOUR))
            self.time += hours * HOUR

        @rule()
        def sweep(self):
            now(collector.run())
            now(check())
            self.forget_what_is_not_kept()

        def forget_what_is_not_kept(self):
            """Retention took it: it was allowed to."""
            for image, content in list(self.manifests):
                if not now(has_manifest(registry, digest_of(content), image)):
                    assert self.may_go(image, content)
                    self.forget(image, content)

        @invariant()
        def nothing_needed_is_gone(self):
            for image in IMAGES:
                for content in CONTENTS:
                    if self.needed(image, content):
                        assert now(content_of(registry, image, digest_of(content))) == content
            for image, content in self.manifests:
                assert now(registry.manifests.get(image, digest_of(content))).content == content
            for (image, tag), content in self.tags.items():
                assert now(registry.manifests.get(image, Tag(tag))).content == content

        def teardown(self):
            self.forget_what_is_not_kept()
            for image, content in list(self.manifests):
                now(registry.manifests.delete(image, digest_of(content)))
            for _ in range(3):
                now(wait(100 * HOUR))
                now(collector.run())
            now(check(empty=True))

    return Registries


@pytest.fixture(params=["filesystem", "s3"])
def parts(request, database, threads):
    """A registry, its store, and what the store holds, by key."""
    if request.param == "filesystem":
        store, directory = request.getfixturevalue("store"), request.getfixturevalue("directory")
        files = directory / "objects"
        return (
            store,
            lambda: (
                {str(f.relative_to(files)) for f in files.rglob("*") if f.is_file()}
                | {f"staged/{f.name}" for f in (directory / "staging").iterdir()}
            ),
        )
    store = request.getfixturevalue("s3_store")
    seaweed, location = request.getfixturevalue("seaweed"), request.getfixturevalue("location")
    client, prefix = seaweed.client(), location.prefix
    return store, lambda: {
        found["Key"].removeprefix(prefix)
        for found in client.list_objects_v2(Bucket=location.bucket, Prefix=prefix).get("Contents", [])
    }


@pytest.mark.parametrize("untagged_days", [None, 1], ids=["kept", "retention"])
async def test_model(parts, database, threads, wait, untagged_days, request):
    """Whatever the order, nothing needed is gone after any step, and nothing unneeded is left in the end."""
    store, held = parts
    registry = Registry.over(database, store, threads)
    settings_of_repo = {} if untagged_days is None else {"retention": {"untagged_days": untagged_days}}
    await registry.repos.ensure("docker-internal", "docker", "local")
    await registry.repos.change("docker-internal", {"settings": settings_of_repo})

    async def check(empty: bool = False) -> None:
        """Every blob's row has its bytes; in the end there are neither."""
        rows = await database.query("SELECT object_key FROM blobs WHERE object_key IS NOT NULL")
        keys = {key for (key,) in rows}
        assert keys <= held()
        if empty:
            assert held() == set()
            assert await database.query("SELECT 1 FROM blobs UNION ALL SELECT 1 FROM upload_sessions") == []

    await deferToThread(
        run_state_machine_as_test,
        machine(registry, Collector(database, store, GRACES, Metrics()), wait, check, untagged_days),
        settings=settings(
            max_examples=EXAMPLES[request.node.callspec.params["parts"]],
            stateful_step_count=25,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
