"""What refers to a manifest: by its subject, and by the fallback tags of older clients."""

from __future__ import annotations

import json

import pytest

from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import NameUnknown
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import Tag
from tests.registry.bodies import NAME, NOWHERE, OTHER, push
from tests.registry.test_manifests import descriptor, image, index, put

SUBJECT = b"the subject, which was never pushed"


def refers(**fields) -> bytes:
    """An index that refers to the subject."""
    return index(subject=descriptor(SUBJECT, OCI_MANIFEST), **fields)


def fallback(subject: Digest) -> Tag:
    """The tag under which an older client keeps an index of what refers to it."""
    return Tag(f"{subject.algorithm}-{subject.hex}"[: len(subject.algorithm) + 1 + 64])


async def listing(registry, subject=None, artifact_type=None, last="", count=100, name=NAME):
    """The descriptors of a page, and whether others follow."""
    page = await registry.referrers.listing(name, subject or digest_of(SUBJECT), artifact_type, last, count)
    return page.descriptors, page.more


async def test_by_subject(registry):
    """What names the subject is listed as a descriptor, with artifact type and annotations where there are any."""
    await push(registry, b"{}")
    typed = refers(artifactType="application/sbom", annotations={"a": "1"})
    config = image(subject=descriptor(SUBJECT, OCI_MANIFEST))
    for content in (typed, config, refers()):
        await put(registry, content, digest_of(content))
    expected = [
        descriptor(typed, OCI_INDEX, artifactType="application/sbom", annotations={"a": "1"}),
        descriptor(config, OCI_MANIFEST, artifactType="application/vnd.oci.image.config.v1+json"),
        descriptor(refers(), OCI_INDEX),
    ]
    assert await listing(registry) == (sorted(expected, key=lambda d: d["digest"]), False)


async def test_nothing(registry):
    """Of a subject or an image that nobody knows the list is empty; a repo must be there."""
    assert await listing(registry) == ([], False)
    await put(registry, refers(), name=OTHER)
    assert await listing(registry) == ([], False)
    with pytest.raises(NameUnknown):
        await listing(registry, name=NOWHERE)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_fallback_tags(registry, algorithm):
    """The entries of a fallback tag's index are listed among the others, each once; what the registry knows wins."""
    subject = digest_of(SUBJECT, algorithm)
    known = index(subject={"mediaType": OCI_MANIFEST, "digest": str(subject), "size": 3}, artifactType="application/a")
    only_there = index(annotations={"only": "there"})
    await put(registry, known)
    await put(registry, only_there)
    stale = descriptor(known, OCI_INDEX, artifactType="application/stale")
    listed = descriptor(only_there, OCI_INDEX, artifactType="application/b", annotations={"kept": "as it is"})
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [stale, listed]}).encode()
    await put(registry, content, fallback(subject))
    expected = [descriptor(known, OCI_INDEX, artifactType="application/a"), listed]
    assert await listing(registry, subject) == (sorted(expected, key=lambda d: d["digest"]), False)
    assert await listing(registry, subject, "application/b") == ([listed], False)


@pytest.mark.parametrize(
    "content, media_type",
    [
        (image(), OCI_MANIFEST),
        (b'{"manifests": 5}', "application/vnd.x+json"),
        (b'{"manifests": [5, null, {}, {"digest": 5}, {"digest": "sha256:x"}]}', "application/vnd.x+json"),
        (json.dumps({"manifests": [{"digest": str(digest_of(b"x"))}]}).encode(), "application/vnd.x+json"),
        (json.dumps({"manifests": [{**descriptor(b"x"), "size": "5"}]}).encode(), "application/vnd.x+json"),
    ],
)
async def test_fallback_tags_of_something_else(registry, content, media_type):
    """A fallback tag that stands for no index of descriptors adds nothing, and breaks nothing."""
    await push(registry, b"{}")
    await put(registry, content, fallback(digest_of(SUBJECT)), media_type=media_type)
    await put(registry, refers())
    assert await listing(registry) == ([descriptor(refers(), OCI_INDEX)], False)


async def test_pages(registry):
    """Page after page, all are listed once by digest: those of the fallback tag in their places."""
    contents = [refers(annotations={"n": str(n)}) for n in range(5)]
    others = [index(annotations={"n": str(n)}) for n in range(5)]
    for content in (*contents, *others):
        await put(registry, content, digest_of(content))
    await put(registry, index(*others), fallback(digest_of(SUBJECT)))
    seen, last, more = [], "", True
    while more:
        page, more = await listing(registry, last=last, count=3)
        seen += [entry["digest"] for entry in page]
        last = seen[-1]
    assert seen == sorted(str(digest_of(content)) for content in (*contents, *others))


async def test_filtered_pages(registry):
    """A filter is applied before pages are cut."""
    for n in range(6):
        await put(registry, refers(artifactType=f"application/{'ab'[n % 2]}", annotations={"n": str(n)}))
    one, more = await listing(registry, artifact_type="application/a", count=2)
    two, end = await listing(registry, artifact_type="application/a", last=one[-1]["digest"], count=2)
    assert (len(one), more, len(two), end) == (2, True, 1, False)
    assert {entry["artifactType"] for entry in (*one, *two)} == {"application/a"}
