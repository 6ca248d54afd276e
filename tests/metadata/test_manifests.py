"""Rows of manifests, of what they name, and of what refers to them."""

from __future__ import annotations

import pytest
import pytest_twisted

from artifactapi.metadata import manifests, repos, tags
from artifactapi.metadata.manifests import AT_ONCE, Referrer
from artifactapi.oci.digest import digest_of
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import ImageName, Tag
from tests.metadata.conftest import eventually
from tests.metadata.stories import (
    ELSEWHERE,
    NAME,
    NOWHERE,
    OTHER,
    Held,
    digest,
    make_repos,
    manifest,
    put_manifest,
    together,
)


@pytest_twisted.async_yield_fixture
async def db(database):
    """A pool, with the repos."""
    await make_repos(database)
    yield database


async def tag(db, made, *names: str, name: ImageName = NAME) -> None:
    """Tag a manifest."""
    await tags.put(db, await manifests.image_id(db, name), sorted(names), made)


async def test_find(db):
    """A manifest is found by its digest and by its tags, with its bytes and its type, in its own image alone."""
    made = await put_manifest(db, "m")
    await tag(db, made, "v1", "latest")
    for reference in (made, Tag("v1"), Tag("latest")):
        found = await manifests.find(db, NAME, reference)
        assert (found.digest, found.media_type, found.size, found.content) == (str(made), OCI_MANIFEST, 3, b'"m"')
        for name in (OTHER, ELSEWHERE, NOWHERE):
            assert await manifests.find(db, name, reference) is None
    assert await manifests.find(db, NAME, Tag("v2")) is None
    assert await manifests.find(db, NAME, digest("none")) is None


async def test_find_all(db):
    """Many references of many images are found by one call, large manifests among small ones."""
    large = "x" * AT_ONCE
    one, two = await put_manifest(db, "one"), await put_manifest(db, large, name=ELSEWHERE)
    await tag(db, one, "v1")
    await tag(db, two, "v1", name=ELSEWHERE)
    wanted = [(n, r) for n in (NAME, ELSEWHERE, OTHER) for r in (Tag("v1"), Tag("v2"), one, two)]
    found = await manifests.find_all(db, wanted)
    assert {key: len(stored.content) for key, stored in found.items()} == {
        (NAME, Tag("v1")): 5,
        (NAME, one): 5,
        (ELSEWHERE, Tag("v1")): AT_ONCE + 2,
        (ELSEWHERE, two): AT_ONCE + 2,
    }


async def test_fallback_tags(db):
    """The tag that older clients make of a digest is a tag like others."""
    made = await put_manifest(db, "m")
    fallback = Tag(str(made).replace(":", "-"))
    await tag(db, made, str(fallback))
    assert (await manifests.find(db, NAME, fallback)).digest == str(made)


async def test_image_id(db, onlooker):
    """An image is made once, however many push to it first; there is none in a repo that does not exist."""
    ids = await together(*(manifests.image_id(db, NAME) for _ in range(8)))
    assert len(set(ids)) == 1
    assert await manifests.image_id(db, NAME) == ids[0]
    assert await manifests.image_id(db, ELSEWHERE) != ids[0]
    assert await manifests.image_id(db, NOWHERE) is None
    assert onlooker.value("SELECT count(*) FROM images") == 2


async def test_put_again(db, onlooker):
    """A manifest that is pushed again keeps its bytes and what it names, and takes the type of the later push."""
    blob = digest("blob")
    made = await put_manifest(db, "m", blob, annotations={"a": "1"})
    await put_manifest(db, "m", blob, media_type="application/x")
    found = await manifests.find(db, NAME, made)
    assert (found.media_type, found.content) == ("application/x", b'"m"')
    assert onlooker.rows("SELECT child, kind FROM manifest_refs") == [(str(blob), "layer")]
    assert onlooker.value("SELECT annotations FROM manifests") == {"a": "1"}


async def test_put_keeps_what_it_names(db, onlooker):
    """References are kept with their kind, the optional ones of non-distributable layers as well."""
    parts = {kind: manifest(digest(kind), kind=kind).references for kind in ("config", "layer", "manifest")}
    optional = manifest(digest("optional")).references
    await put_manifest(db, "m", references=sum(parts.values(), ()), optional=optional)
    assert set(onlooker.rows("SELECT child, kind FROM manifest_refs")) == {
        *((str(digest(kind)), kind) for kind in parts),
        (str(digest("optional")), "layer"),
    }


async def test_puts_at_the_same_time(db, onlooker):
    """One manifest pushed by many at once is there once, with its references."""
    await together(*(put_manifest(db, "m", digest("a"), digest("b")) for _ in range(8)))
    assert onlooker.value("SELECT count(*) FROM manifests") == 1
    assert onlooker.value("SELECT count(*) FROM manifest_refs") == 2


async def test_delete(db, onlooker):
    """A deleted manifest takes its tags and its references with it, in its image alone; others stay."""
    made = await put_manifest(db, "m", digest("a"))
    await put_manifest(db, "m", digest("a"), name=ELSEWHERE)
    await tag(db, made, "v1", "v2")
    assert await manifests.delete(db, NAME, made)
    assert not await manifests.delete(db, NAME, made)
    assert not await manifests.delete(db, OTHER, made)
    for reference in (made, Tag("v1"), Tag("v2")):
        assert await manifests.find(db, NAME, reference) is None
    assert await manifests.find(db, ELSEWHERE, made) is not None
    assert onlooker.value("SELECT count(*) FROM manifest_refs") == 1


async def test_lock_present(db):
    """Of the manifests an index names those are present that its image has."""
    here, elsewhere = await put_manifest(db, "here"), await put_manifest(db, "elsewhere", name=ELSEWHERE)
    image = await manifests.image_id(db, NAME)
    wanted = [str(here), str(elsewhere), str(digest("none"))]
    assert await manifests.lock_present(db, image, wanted) == {str(here)}


async def test_a_locked_manifest_stays(db, onlooker):
    """The deletion of a manifest waits for the index that is being put over it."""
    child = await put_manifest(db, "child")
    image = await manifests.image_id(db, NAME)
    putting = Held(db, lambda transaction: manifests.lock_present(transaction, image, [str(child)]))
    await putting.worked
    assert await together(end(putting, onlooker), manifests.delete(db, NAME, child)) == [None, True]


async def end(held: Held, onlooker) -> None:
    """Let the transaction commit as soon as another one waits for it."""
    await eventually(lambda: onlooker.waiting() == 1)
    await held.commit()


async def delete_repo(db) -> None:
    """Delete NAME's repo."""
    await repos.delete(db, await repos.lock(db, NAME.repo))


@pytest.mark.parametrize("known", [False, True])
async def test_an_image_behind_the_deletion_of_its_repo(db, onlooker, known):
    """A push that waits for a repo which is being deleted finds neither repo nor image."""
    if known:
        await put_manifest(db, "first")
    deleting = Held(db, delete_repo)
    await deleting.worked
    assert await together(end(deleting, onlooker), manifests.image_id(db, NAME)) == [None, None]


@pytest.mark.parametrize("known", [False, True])
async def test_a_repo_is_deleted_behind_a_put(db, onlooker, known):
    """A manifest that is being put when its repo is deleted goes with it: nothing is left, and nobody gets an error."""
    if known:
        await put_manifest(db, "first")
    putting = Held(db, lambda transaction: put_manifest(transaction, "m", digest("a")))
    await putting.worked
    await together(end(putting, onlooker), db.transaction(delete_repo))
    for table in ("images", "manifests", "manifest_refs"):
        assert onlooker.value(f"SELECT count(*) FROM {table}") == 0


SUBJECT = digest("subject")


async def referrer(db, text: str, **fields):
    """A manifest whose subject is SUBJECT."""
    return await put_manifest(db, text, **{"subject": SUBJECT, **fields})


async def test_referrers(db):
    """What refers to a manifest is listed by digest with what a descriptor shows, the missing subject's too."""
    one = await referrer(db, "one", artifact_type="application/a", annotations={"a": "é"})
    two = await referrer(db, "two", media_type=OCI_INDEX)
    await referrer(db, "other subject", subject=digest("other"))
    await referrer(db, "elsewhere", name=ELSEWHERE)
    await put_manifest(db, "no subject")
    expected = [
        Referrer(str(one), OCI_MANIFEST, "application/a", 5, {"a": "é"}),
        Referrer(str(two), OCI_INDEX, None, 5, {}),
    ]
    assert await manifests.referrers(db, NAME, SUBJECT, None, "", 10) == sorted(expected, key=lambda r: r.digest)
    for name, subject in ((OTHER, SUBJECT), (NOWHERE, SUBJECT), (NAME, digest("none"))):
        assert await manifests.referrers(db, name, subject, None, "", 10) == []


async def test_referrers_by_type(db):
    """A filter leaves those of one artifact type."""
    made = await referrer(db, "a", artifact_type="application/a")
    await referrer(db, "b", artifact_type="application/b")
    await referrer(db, "none")
    found = await manifests.referrers(db, NAME, SUBJECT, "application/a", "", 10)
    assert [r.digest for r in found] == [str(made)]


async def test_pages_of_referrers(db):
    """Page after page, all are listed once; `last` need not be one of them."""
    made = sorted([str(await referrer(db, f"{n}")) for n in range(7)])
    seen, last = [], ""
    while page := await manifests.referrers(db, NAME, SUBJECT, None, last, 3):
        seen += [r.digest for r in page]
        last = seen[-1]
    assert seen == made
    middle = str(digest_of(b""))
    rest = await manifests.referrers(db, NAME, SUBJECT, None, middle, 10)
    assert [r.digest for r in rest] == [d for d in made if d > middle]
