"""Rows of tags, and the lists of tags and images."""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from psycopg2.errors import ForeignKeyViolation

from artifactapi.metadata import manifests, tags
from artifactapi.oci.names import ImageName, Tag
from tests.metadata.stories import (
    ELSEWHERE,
    NAME,
    NOWHERE,
    OTHER,
    digest,
    make_repos,
    push,
    put_manifest,
    tagged,
    together,
)

# Locales differ about each of these; bytes do not.
NAMES = [
    "0",
    "10",
    "2",
    "A",
    "B",
    "Z",
    "_",
    "_x",
    "a",
    "a-b",
    "a.b",
    "aa",
    "ab",
    "a_b",
    "b",
    "v1",
    "v1.0",
    "v1.0-rc",
    "z",
]


@pytest_twisted.async_yield_fixture
async def db(database):
    """A pool, with the repos."""
    await make_repos(database)
    yield database


async def page(db, last: str, count: int) -> tuple[list[str], str, bool]:
    """A page of NAME's tags."""
    listing = await tags.listing(db, NAME, last, count)
    return json.loads(listing.names), listing.last, listing.more


async def test_put_moves(db):
    """A tag stands for the manifest it was given last; all tags of a push move together."""
    await tagged(db, "v1", "v2", "v3", text="old")
    await tagged(db, "v1", "v2", text="new")
    contents = [(await manifests.find(db, NAME, Tag(t))).content for t in ("v1", "v2", "v3")]
    assert contents == [b'"new"', b'"new"', b'"old"']


async def test_puts_at_the_same_time(db):
    """Pushes that move the same tags in different orders do not lock each other out; each tag ends at one of them."""
    await tagged(db, *NAMES, text="0")
    await tagged(db, *NAMES, text="1")
    orders = (NAMES, NAMES[::-1], NAMES[3:] + NAMES[:3])
    await together(*(tagged(db, *orders[n % 3], text=str(n % 2)) for n in range(12)))
    contents = {(await manifests.find(db, NAME, Tag(name))).content for name in NAMES}
    assert contents <= {b'"0"', b'"1"'}


async def test_delete(db):
    """A tag is deleted alone, in its own image: its manifest and its other tags stay."""
    await tagged(db, "v1", "v2")
    await tagged(db, "v1", name=ELSEWHERE)
    assert await tags.delete(db, NAME, Tag("v1"))
    for name, tag in ((NAME, "v1"), (OTHER, "v1"), (NOWHERE, "v1"), (NAME, "v9")):
        assert not await tags.delete(db, name, Tag(tag))
    assert await page(db, "", 10) == (["v2"], "v2", False)
    assert await manifests.find(db, ELSEWHERE, Tag("v1")) is not None


async def test_listing_in_byte_order(db):
    """Tags are listed by byte; `last` is exclusive and need not be a tag."""
    await tagged(db, *reversed(NAMES))
    ordered = sorted(NAMES, key=str.encode)
    assert await page(db, "", 1000) == (ordered, ordered[-1], False)
    for last in (*NAMES, "A0", "~", "!"):
        after = [name for name in ordered if name > last]
        assert await page(db, last, 1000) == (after, after[-1] if after else "", False)


@pytest.mark.parametrize("count", [1, 2, 5, len(NAMES) - 1, len(NAMES), len(NAMES) + 1])
async def test_pages(db, count):
    """Page after page, every tag is listed once, and the last page says so, whether it is full or not."""
    await tagged(db, *NAMES)
    seen, last, more, pages = [], "", True, 0
    while more:
        names, last, more = await page(db, last, count)
        seen += names
        pages += 1
    assert seen == sorted(NAMES, key=str.encode)
    assert pages == -(-len(NAMES) // count)


async def test_a_page_of_nothing(db):
    """A page of none says whether there are any."""
    await tagged(db, "v1")
    assert await page(db, "", 0) == ([], "", True)
    assert await page(db, "v1", 0) == ([], "", False)


async def test_listing_without_tags(db):
    """An image without tags has an empty list; one that does not exist has none."""
    await push(db, "blob", OTHER)
    await put_manifest(db, "untagged")
    assert await page(db, "", 10) == ([], "", False)
    assert (await tags.listing(db, OTHER, "", 10)).names == "[]"
    for name in (ELSEWHERE, NOWHERE):
        assert await tags.listing(db, name, "", 10) is None


async def test_catalog(db):
    """Images of all repos that have a manifest are listed by byte as <repo>/<image>, page by page."""
    images = [ImageName(repo, image) for repo in ("docker-internal", "other") for image in ("a", "a-b", "a/b", "a.b")]
    for name in images:
        await put_manifest(db, "m", name=name)
    await push(db, "only a blob", OTHER)
    expected = sorted(map(str, images), key=str.encode)
    assert json.loads((await tags.catalog(db, "", 100)).names) == expected
    seen, last, more = [], "", True
    while more:
        listing = await tags.catalog(db, last, 3)
        seen += json.loads(listing.names)
        last, more = listing.last, listing.more
    assert seen == expected


@pytest.mark.parametrize("names", [tags.TAGS, tags.IMAGES])
async def test_lists_do_not_follow_the_locale(db, onlooker, names):
    """Both lists compare their names byte by byte in a database of whatever locale."""
    await tagged(db, "v1")
    sql = names.format("true") % {"repo": f"'{NAME.repo}'", "image": f"'{NAME.image}'"}
    assert onlooker.value(f"SELECT pg_collation_for(name) FROM ({sql}) n (name)") == '"C"'


async def test_names_do_not_follow_the_locale(onlooker):
    """All that is a name, a tag, a digest or a key is compared byte by byte: `last` and joins rely on it."""
    other = onlooker.rows(
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"""
    )
    assert {column for _, column in other} == {
        "package_type", "repo_type", "media_type", "artifact_type", "kind", "algorithm",
        "password_hash", "private_key", "audience", "jwks_url", "created_by", "credential", "address", "request_id",
    }  # fmt: skip


async def test_a_tag_needs_its_manifest(db):
    """A tag cannot stand for what is not there."""
    image = await manifests.image_id(db, NAME)
    with pytest.raises(ForeignKeyViolation):
        await tags.put(db, image, ["v1"], digest("none"))
