"""Repos: list, create, read, change, delete."""

from __future__ import annotations

import pytest

from artifactapi.oci.errors import NameUnknown
from artifactapi.oci.fields import FieldsInvalid
from artifactapi.registry.repos import RepoExists, RepoNotEmpty
from tests.registry.bodies import BIG, NAME, SMALL, Pieces, outcomes, push

GOOD = {"name": "x", "package_type": "docker", "repo_type": "local"}

WRONG = [
    ([], [""]),
    (None, [""]),
    ("x", [""]),
    ({}, ["name", "package_type", "repo_type"]),
    ({**GOOD, "name": None}, ["name"]),
    ({**GOOD, "name": 5}, ["name"]),
    ({**GOOD, "name": ""}, ["name"]),
    ({**GOOD, "name": "Upper"}, ["name"]),
    ({**GOOD, "name": "a/b"}, ["name"]),
    ({**GOOD, "name": "a" * 101}, ["name"]),
    ({**GOOD, "name": "x\n"}, ["name"]),
    ({**GOOD, "package_type": "maven"}, ["package_type"]),
    ({**GOOD, "package_type": ["docker"]}, ["package_type"]),
    ({**GOOD, "repo_type": "distant"}, ["repo_type"]),
    ({**GOOD, "settings": {"upstream": "https://registry.example.org"}}, ["settings.upstream"]),
    ({**GOOD, "repo_type": {}}, ["repo_type"]),
    ({**GOOD, "size": 5}, ["size"]),
    ({**GOOD, "u" * 200: 5}, ["u" * 100]),
    ({**GOOD, "settings": None}, ["settings"]),
    ({**GOOD, "settings": []}, ["settings"]),
    ({**GOOD, "settings": {"allow_delete": "no"}}, ["settings.allow_delete"]),
    ({**GOOD, "settings": {"allow_delete": 0}}, ["settings.allow_delete"]),
    ({**GOOD, "settings": {"description": 5}}, ["settings.description"]),
    ({**GOOD, "settings": {"description": "x" * 1001}}, ["settings.description"]),
    ({**GOOD, "settings": {"description": "a\0b"}}, ["settings.description"]),
    ({**GOOD, "settings": {"description": "\ud800"}}, ["settings.description"]),
    ({**GOOD, "settings": {"quota": 5, "z": 1}}, ["settings.quota", "settings.z"]),
    ({"name": "X", "repo_type": "local", "a": 1, "settings": {"b": 2}}, ["a", "name", "package_type", "settings.b"]),
]


@pytest.mark.parametrize("fields, wrong", WRONG)
async def test_fields(registry, fields, wrong):
    """All that is wrong with a repo is told at once, by field; it is not created."""
    with pytest.raises(FieldsInvalid) as error:
        await registry.repos.create(fields)
    assert sorted(e.detail["field"] for e in error.value.errors) == wrong
    assert all(e.message and len(e.message) < 300 for e in error.value.errors)
    assert error.value.status == 400
    assert len(await registry.repos.listing("", 10)) == 1


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({}, {}),
        ({"allow_delete": False}, {"allow_delete": False}),
        ({"allow_delete": None, "description": None}, {}),
        ({"description": "x" * 1000}, {"description": "x" * 1000}),
        ({"description": "naïve ☃ 𝄞\n"}, {"description": "naïve ☃ 𝄞\n"}),
    ],
)
async def test_create(registry, settings, kept):
    """A repo is read as it was created, without what is null."""
    made = await registry.repos.create({**GOOD, "settings": settings})
    assert (made.name, made.settings) == ("x", kept)
    read, usage = await registry.repos.read("x")
    assert (read, usage.images) == (made, 0)


async def test_names_are_taken_once(registry):
    """Of those who create a repo at once one does; a later one is told 409, and ensuring it changes nothing."""
    told = await outcomes(*(registry.repos.create(GOOD) for _ in range(5)))
    assert sum(isinstance(t, RepoExists) for t in told) == 4
    await registry.repos.change("x", {"settings": {"description": "kept"}})
    await registry.repos.ensure("x", "docker", "local")
    assert (await registry.repos.read("x"))[0].settings == {"description": "kept"}


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ([], [""]),
        ({"name": "y"}, ["name"]),
        ({"package_type": "docker"}, ["package_type"]),
        ({"repo_type": "remote", "a": 1}, ["a", "repo_type"]),
        ({"settings": {"allow_delete": 1}}, ["settings.allow_delete"]),
        ({"settings": 5}, ["settings"]),
    ],
)
async def test_what_cannot_be_changed(registry, fields, wrong):
    """What a repo is cannot be changed, and its settings only to what they may be."""
    made = await registry.repos.create(GOOD)
    with pytest.raises(FieldsInvalid) as error:
        await registry.repos.change("x", fields)
    assert sorted(e.detail["field"] for e in error.value.errors) == wrong
    assert (await registry.repos.read("x"))[0] == made


async def test_change(registry):
    """Settings that are given are changed, null takes one out, all others stay; the name may be repeated."""
    await registry.repos.create({**GOOD, "settings": {"allow_delete": False, "description": "old"}})
    changed = await registry.repos.change("x", {"name": "x", "settings": {"description": "new"}})
    assert changed.settings == {"allow_delete": False, "description": "new"}
    changed = await registry.repos.change("x", {"settings": {"allow_delete": None}})
    assert changed.settings == {"description": "new"}
    assert (await registry.repos.change("x", {})).settings == {"description": "new"}


async def test_unknown(registry):
    """A repo that does not exist cannot be read, changed or deleted; its name is not echoed without end."""
    for name in ("nowhere", "n" * 5000):
        for attempt in (
            registry.repos.read(name),
            registry.repos.change(name, {}),
            registry.repos.delete(name, force=False),
            registry.repos.delete(name, force=True),
        ):
            with pytest.raises(NameUnknown) as error:
                await attempt
            assert len(error.value.message) < 200


async def test_delete(registry):
    """A repo that holds anything is deleted only by force, then with all it holds; an empty one at once."""
    await push(registry, SMALL)
    await push(registry, BIG)
    session = await registry.uploads.start(NAME)
    await registry.uploads.append(NAME, session.id, Pieces(BIG), 0)
    with pytest.raises(RepoNotEmpty) as error:
        await registry.repos.delete(NAME.repo, force=False)
    assert error.value.status == 409
    await registry.repos.delete(NAME.repo, force=True)
    with pytest.raises(NameUnknown):
        await registry.repos.read(NAME.repo)
    await registry.repos.create({**GOOD, "name": NAME.repo})
    assert (await registry.repos.read(NAME.repo))[1].images == 0
    await registry.repos.delete(NAME.repo, force=False)
