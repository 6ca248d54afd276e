"""Pushes, mounts, tags, deletions and sweeps in any order, against a model: nothing needed ever goes, all else does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from artifactapi.gc.collector import Collector
from artifactapi.gc.fsck import Finding, Fsck
from artifactapi.metrics import Metrics
from artifactapi.oci.digest import digest_of
from artifactapi.oci.errors import ManifestBlobUnknown
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry.intake import INLINE
from artifactapi.registry.registry import Registry
from tests.gc.conftest import GRACES, HOUR
from tests.gc.images import has_blob, has_manifest, index, manifest, put
from tests.registry.bodies import Pieces, outcomes, push

IMAGES = [ImageName("docker-internal", name) for name in ("a", "b/c")]
CONTENTS = [b"config", b"small", *(Random(n).randbytes(INLINE + n) for n in (1, 2, 3))]
TAGS = ["v1", "v2"]

EXAMPLES = {"filesystem": 40, "s3": 12}

# Few rules with many ways each: hypothesis leaves out some of the rules in most examples.
images = st.sampled_from(IMAGES)
contents = st.sampled_from(range(len(CONTENTS))).map(lambda number: CONTENTS[number])  # a short repr
tags = st.sampled_from(TAGS)
some = st.lists(contents, min_size=1, max_size=3, unique=True)


def now(work):
    """The result of a coroutine, for the thread of the machine."""
    return blockingCallFromThread(reactor, Deferred.fromCoroutine, work)


@dataclass(frozen=True)
class Named:
    """What a manifest names: blobs, or manifests; and the subject it has, be it there or not."""

    blobs: tuple[bytes, ...] = ()
    manifests: tuple[bytes, ...] = ()
    subject: bytes | None = None


def machine(registry: Registry, collector: Collector, wait, check) -> type[RuleBasedStateMachine]:
    """A machine over these parts, which are empty when it begins, and must be when it ends."""

    class Registries(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.time = 0.0
            self.promised: dict[tuple[ImageName, bytes], float] = {}
            self.manifests: dict[tuple[ImageName, bytes], Named] = {}
            self.tags: dict[tuple[ImageName, str], bytes] = {}
            self.idle: dict[tuple[ImageName, bytes], float] = {}  # since when nothing refers to a manifest, if so
            self.untagged_days: int | None = None

        @initialize(days=st.sampled_from([None, 1]))
        def retain(self, days):
            """The repo's retention of manifests that nothing refers to."""
            self.untagged_days = days
            retention = None if days is None else {"untagged_days": days}
            now(registry.repos.change("docker-internal", {"settings": {"retention": retention}}))

        def needed(self, image: ImageName, content: bytes) -> bool:
            """Whether the blob must be in the image."""
            used = any(where == image and content in named.blobs for (where, _), named in self.manifests.items())
            return used or self.time - self.promised.get((image, content), -1e9) < GRACES.uploads

        def referred(self, image: ImageName, content: bytes) -> bool:
            """Whether a tag, an index or a subject that is there keeps the manifest."""
            tagged = any((where, value) == (image, content) for (where, _), value in self.tags.items())
            child = any(where == image and content in named.manifests for (where, _), named in self.manifests.items())
            return tagged or child or (image, self.manifests[image, content].subject) in self.manifests

        def may_go(self, image: ImageName, content: bytes) -> bool:
            """Whether the repo's retention does not keep the manifest."""
            idle = self.time - self.idle[image, content]
            old = self.untagged_days is not None and idle >= self.untagged_days * 24 * HOUR
            return old and not self.referred(image, content)

        def promise(self, image: ImageName, content: bytes) -> None:
            """A client was told that it is there."""
            self.promised[image, content] = self.time

        @rule(image=images, content=contents, way=st.sampled_from(["push", "mount", "ask", "leave"]))
        def blob(self, image, content, way):
            getattr(self, way)(image, content)

        def push(self, image: ImageName, content: bytes) -> None:
            now(push(registry, content, image))
            self.promise(image, content)

        def leave(self, image: ImageName, content: bytes) -> None:
            """A session, in the middle."""
            session = now(registry.uploads.start(image))
            now(registry.uploads.append(image, session.id, Pieces(content), None))

        def ask(self, image: ImageName, content: bytes) -> None:
            if self.needed(image, content) or now(has_blob(registry, digest_of(content), image)):
                now(registry.blobs.promise(image, digest_of(content)))
                self.promise(image, content)

        def mount(self, image: ImageName, content: bytes) -> None:
            needed = any(self.needed(source, content) for source in IMAGES)
            mounted = now(registry.blobs.mount(image, digest_of(content), None))
            assert mounted or not needed
            if mounted:
                self.promise(image, content)

        @rule(image=images, blobs=some, tag=st.none() | tags, there=st.booleans())
        def put_manifest(self, image, blobs, tag, there):
            for blob in () if there else blobs:
                self.push(image, blob)
            self.put(image, manifest(*blobs), Named(tuple(blobs)), tag)

        @precondition(lambda self: self.manifests)
        @rule(data=st.data(), signature=st.none() | contents, tag=st.none() | tags)
        def put_another(self, data, signature, tag):
            """A manifest whose subject it is, or an index of it."""
            image, other = self.draw(data)
            if signature is None:
                self.put(image, index(other), Named(manifests=(other,)), tag)
            else:
                self.push(image, signature)
                self.put(image, manifest(signature, subject=other), Named((signature,), subject=other), tag)

        def put(self, image: ImageName, content: bytes, named: Named, tag: str | None) -> None:
            needed = all(self.needed(image, blob) for blob in named.blobs)
            try:
                now(put(registry, content, tag, image))
            except ManifestBlobUnknown:
                assert not needed
                return
            self.manifests[image, content] = named
            self.idle[image, content] = self.time
            if tag:
                self.untag(image, tag)
                self.tags[image, tag] = content

        def draw(self, data) -> tuple[ImageName, bytes]:
            """A manifest that is there."""
            return data.draw(st.sampled_from(sorted(self.manifests, key=str)))

        def untag(self, image: ImageName, tag: str) -> bool:
            """The tag goes, or moves; whether it was there."""
            content = self.tags.pop((image, tag), None)
            if content is not None:
                self.idle[image, content] = self.time
            return content is not None

        @precondition(lambda self: self.manifests)
        @rule(data=st.data(), tag=st.none() | tags)
        def delete(self, data, tag):
            image, content = self.draw(data)
            if tag is None:
                now(registry.manifests.delete(image, digest_of(content)))
                self.forget(image, content)
            elif self.untag(image, tag):
                now(registry.manifests.delete(image, Tag(tag)))

        def forget(self, image: ImageName, content: bytes) -> None:
            """The manifest is gone, with its tags. What it named, and what refers to it, was needed until now."""
            gone = self.manifests.pop((image, content))
            for blob in gone.blobs:
                self.promise(image, blob)
            for (where, other), named in self.manifests.items():
                if where == image and (other in gone.manifests or named.subject == content):
                    self.idle[image, other] = self.time
            self.tags = {key: value for key, value in self.tags.items() if (key[0], value) != (image, content)}

        @rule(hours=st.sampled_from([0.5, 7, 20, 31, 50]), image=st.none() | images, sweep=st.booleans())
        def wait(self, hours, image, sweep):
            """Time passes; clients have asked for all that is in an image before."""
            for content in () if image is None else CONTENTS:
                self.ask(image, content)
            now(wait(hours * HOUR))
            self.time += hours * HOUR
            if sweep:
                self.collect()
                now(check())
                self.forget_what_is_not_kept()

        def collect(self):
            """No sweep fails."""
            now(collector.run())
            [latest] = now(collector.history(1))
            assert latest.failures == {}

        def forget_what_is_not_kept(self):
            """Retention took it: it was allowed to."""
            for image, content in list(self.manifests):
                if not now(has_manifest(registry, digest_of(content), image)):
                    assert self.may_go(image, content)
                    self.forget(image, content)

        @invariant()
        def nothing_needed_is_gone(self):
            named = [
                (i, c, registry.blobs.find(i, digest_of(c))) for i in IMAGES for c in CONTENTS if self.needed(i, c)
            ]
            named += [(i, c, registry.manifests.get(i, digest_of(c))) for i, c in self.manifests]
            named += [(i, c, registry.manifests.get(i, Tag(tag))) for (i, tag), c in self.tags.items()]
            found = now(outcomes(*(asked for _, _, asked in named)))  # at once: it is one statement for all
            for (image, content, _), answer in zip(named, found, strict=True):
                assert str(getattr(answer, "digest", answer)) == str(digest_of(content)), image

        def teardown(self):
            self.forget_what_is_not_kept()
            for image, tag in self.tags:
                now(registry.manifests.delete(image, Tag(tag)))
            if self.untagged_days is None:
                for image, content in self.manifests:
                    now(registry.manifests.delete(image, digest_of(content)))
            # A run takes the manifests that nothing refers to; then their blobs' links; then these.
            for _ in range(2 + (self.untagged_days is not None) * len(self.manifests)):
                now(wait(100 * HOUR))
                self.collect()
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


async def test_model(parts, database, threads, wait, request):
    """Whatever the order, nothing needed is gone after any step, and nothing unneeded is left in the end."""
    store, held = parts
    registry = Registry.over(database, store, threads)
    await registry.repos.ensure("docker-internal", "docker", "local")

    async def check(empty: bool = False) -> None:
        """Rows and bytes agree; in the end there are neither."""
        findings: list[Finding] = []
        await Fsck(database, store, threads, findings.append, lambda _: None).run(digests=True, repair=False)
        assert findings == []
        if empty:
            assert held() == set()
            for table in ("upload_sessions", "manifests", "image_blobs", "blobs", "doomed_objects"):
                assert await database.query(f"SELECT * FROM {table}") == []

    await deferToThread(
        run_state_machine_as_test,
        machine(registry, Collector(database, store, GRACES, Metrics()), wait, check),
        settings=settings(
            max_examples=EXAMPLES[request.node.callspec.params["parts"]],
            stateful_step_count=30,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
