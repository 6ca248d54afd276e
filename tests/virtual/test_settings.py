"""The settings of virtual repos, and the names of registries that repos stand for."""

from __future__ import annotations

import pytest

from artifactapi.metadata.database import Database
from artifactapi.oci.fields import FieldsInvalid
from artifactapi.registry.repos import Repos
from tests.metadata.stories import together
from tests.virtual.admin import Admin, fields_of

LOCAL = {"package_type": "docker", "repo_type": "local"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("members", ["nowhere"], "no repo 'nowhere'"),
        ("members", ["team", "virtual"], "no repo 'virtual' that is local or remote"),
        ("members", ["team", {"repo": "team"}], "different"),
        ("members", [], "must be a list"),
        ("members", "team", "must be a list"),
        ("members", [{"allow": ["*"]}], "must be a list"),
        ("members", [{"repo": "team", "only": ["*"]}], "must be a list"),
        ("members", [{"repo": "team", "allow": "*"}], "must be a list"),
        ("members", [{"repo": "team", "deny": ["A"]}], "must be a list"),
        ("members", ["Team"], "must be a list"),
        ("members", None, "needs members"),
        ("push_to", "hub", "no local member"),
        ("push_to", "other", "no local member"),
        ("push_to", "nowhere", "no local member"),
        ("push_to", ["team"], "must be the name"),
        ("rights", "all", "members or own"),
        ("upstream", "http://127.0.0.1", "unknown setting"),
        ("mirror_of", "docker.io", "list"),
        ("mirror_of", ["https://docker.io"], "list"),
        ("hosts", ["mirror/x"], "list"),
    ],
)
async def test_mistakes(repos: Admin, field, value, message):
    """What makes no sense is refused with its field, in a new repo and in a change, which changes nothing then."""
    changed = await repos.try_to_change("virtual", **{field: value})
    assert message in fields_of(changed)[f"settings.{field}"]
    made = await repos.try_to_create("another", "virtual", **{"members": ["team", "hub"], field: value})
    assert message in fields_of(made)[f"settings.{field}"]
    assert (await repos.get("/api/v1/repos/virtual")).json["settings"] == {"members": ["team", "hub", "lab"]}
    assert (await repos.get("/api/v1/repos/another")).status == 404


async def test_members_without_push_to(repos: Admin):
    """push_to has to be a member, also when the members change."""
    await repos.change("virtual", push_to="team")
    changed = await repos.try_to_change("virtual", members=["lab", "hub"])
    assert "no local member" in fields_of(changed)["settings.push_to"]
    await repos.change("virtual", members=["lab", "hub"], push_to="lab")


async def test_settings_of_other_repos(repos: Admin):
    """A local repo has no members, and a virtual one is made with some."""
    made = await repos.try_to_create("another", "local", members=["team"])
    assert "unknown setting" in fields_of(made)["settings.members"]
    assert "needs members" in fields_of(await repos.try_to_create("another", "virtual"))["settings.members"]


@pytest.mark.parametrize("first", ["mirror_of", "hosts"])
@pytest.mark.parametrize("second", ["mirror_of", "hosts"])
async def test_two_repos_for_one_registry(repos: Admin, first, second):
    """One repo may stand for it, whichever way it is named; as soon as it does not, another may."""
    await repos.change("hub", **{first: ["docker.io", "mirror.example"]})
    changed = await repos.try_to_change("virtual", **{second: ["registry.example", "docker.io"]})
    assert fields_of(changed) == {f"settings.{second}": "repo 'hub' stands for 'docker.io' already"}
    made = await repos.try_to_create("another", "local", **{second: ["mirror.example"]})
    assert "'hub'" in fields_of(made)[f"settings.{second}"]
    await repos.change("hub", **{first: ["docker.io"]})  # its own names are free for it
    await repos.change("hub", **{first: None})
    await repos.change("virtual", **{second: ["docker.io"]})


async def test_two_at_a_time(database: Database):
    """Of repos that claim a name at the same moment one gets it."""
    made = Repos(database)

    async def claim(number: int) -> bool:
        try:
            await made.create({"name": f"repo-{number}", **LOCAL, "settings": {"mirror_of": ["docker.io"]}})
        except FieldsInvalid:
            return False
        return True

    assert sum(await together(*(claim(number) for number in range(4)))) == 1
