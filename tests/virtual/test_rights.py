"""Who may do what through a virtual repo: by the rights on its members, or on itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from artifactapi.access.caller import Caller
from artifactapi.access.naming import Naming, Union
from artifactapi.access.rights import Grant, Right
from artifactapi.api.guard import Guard
from artifactapi.oci.names import ImageName
from tests.access.people import Administrator, Person
from tests.client import Client, digest_of
from tests.daemon import eventually
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream

SCOPE = "repository:virtual/{}:pull"


async def status(who: Client, path: str) -> int:
    """Of a pull."""
    return (await who.get(f"/v2/{path}")).status


@pytest_twisted.async_yield_fixture
async def people(admin: Administrator, repos: Admin, upstream: Upstream):
    """People who may pull from one repo each, where each local repo has an image of its own, and so has the upstream.

    Everything is under the name `app` as well: in `lab` and at the upstream.
    """
    await admin.push_image("team/ours", "v1", b"ours")
    for image in ("theirs", "app"):
        await admin.push_image(f"lab/{image}", "v1", image.encode())
    for image in ("public", "app"):
        upstream.add_image(image, "v1", layer=f"the upstream's {image}".encode())
    made: dict[str, Person] = {"nobody": admin.showing(None), "admin": admin}
    for repo in ("team", "lab", "hub", "virtual"):
        made[repo] = await admin.add_user(repo)
        await admin.grant(f"user:{repo}", repo, "pull")
    made["pusher"] = await admin.add_user("pusher")
    await admin.grant("user:pusher", "team", "push")
    made["none"] = await admin.add_user("none")
    yield made


IMAGES = {"ours": "team", "theirs": "lab", "public": "hub"}


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_rights_of_members(people: dict[str, Person], bearer):
    """What a member has is for whoever may pull from that member, and not there for others."""
    for who in ("team", "lab", "hub", "none", "virtual", "admin"):
        for image, repo in IMAGES.items():
            person = await people[who].bearer(SCOPE.format(image)) if bearer else people[who]
            expected = 200 if who in (repo, "admin") else 404
            assert await status(person, f"virtual/{image}/manifests/v1") == expected, (who, image)


async def test_a_claim_of_a_member_that_is_not_seen(people: dict[str, Person], upstream: Upstream):
    """Who may not see the local member with the image gets no image of the upstream under its name."""
    assert await status(people["lab"], "virtual/app/manifests/v1") == 200
    before = len(upstream.asked)
    for path in ("manifests/v1", "tags/list"):
        assert await status(people["hub"], f"virtual/app/{path}") == 404
    assert len(upstream.asked) == before
    assert await status(people["hub"], "hub/app/manifests/v1") == 200


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_rights_of_its_own(people: dict[str, Person], repos: Admin, bearer):
    """With rights of its own, who may pull from the virtual repo may pull all that it shows; others may nothing."""
    await repos.change("virtual", rights="own")
    for who in ("team", "lab", "hub", "none", "virtual", "admin"):
        for image, repo in IMAGES.items():
            person = await people[who].bearer(SCOPE.format(image)) if bearer else people[who]
            expected = 200 if who in ("virtual", "admin") else 404
            assert await status(person, f"virtual/{image}/manifests/v1") == expected, (who, image)
            direct = 200 if who in (repo, "admin") else 404
            assert await status(people[who], f"{repo}/{image}/manifests/v1") == direct, (who, image)


async def test_the_token_flow(people: dict[str, Person]):
    """The challenge names the virtual repo, and so do the scopes that a token is for."""
    answer = await people["nobody"].get("/v2/virtual/ours/manifests/v1")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert 'scope="repository:virtual/ours:pull"' in answer.headers["WWW-Authenticate"]
    token = await people["team"].bearer("repository:virtual/ours:pull")
    assert await status(token, "virtual/ours/manifests/v1") == 200
    assert await status(token, "team/ours/manifests/v1") == 401
    other = await people["team"].bearer("repository:team/ours:pull")
    assert await status(other, "virtual/ours/manifests/v1") == 401
    anonymous = await people["nobody"].bearer("repository:virtual/ours:pull")
    assert await status(anonymous, "virtual/ours/manifests/v1") == 401


async def test_pulls_without_an_account(people: dict[str, Person], admin: Administrator, repos: Admin):
    """Everybody may pull through it what public members have; or all, if it is public and its rights are its own."""
    nobody = people["nobody"]
    await admin.publish("team")
    assert await status(nobody, "virtual/ours/manifests/v1") == 200
    assert await status(nobody, f"virtual/ours/blobs/{digest_of(b'ours')}") == 200
    assert await status(nobody, "virtual/theirs/manifests/v1") == 404
    await admin.publish("virtual")
    assert await status(nobody, "virtual/theirs/manifests/v1") == 404
    await repos.change("virtual", rights="own")
    assert await status(nobody, "virtual/theirs/manifests/v1") == 200
    assert await status(nobody, "lab/theirs/manifests/v1") == 401


@pytest.mark.parametrize("rights", ["members", "own"])
@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_pushes(people: dict[str, Person], repos: Admin, admin: Administrator, rights, bearer):
    """Whose rights count for pulls or not: to push takes the right to push to the member that takes it."""
    await repos.change("virtual", rights=rights, push_to="team")
    await admin.grant("user:virtual", "virtual", "push", "delete")
    await admin.grant("user:pusher", "virtual", "pull")

    async def start(who: str) -> Any:
        person = await people[who].bearer("repository:virtual/new:pull,push") if bearer else people[who]
        return await person.request("POST", "/v2/virtual/new/blobs/uploads/")

    assert (await start("pusher")).status == 202
    assert (await start("admin")).status == 202
    assert (await start("team")).status == (403 if rights == "members" else 404)
    assert (await start("virtual")).status == (404 if rights == "members" else 403)
    assert (await start("none")).status == 404
    challenge = await people["nobody"].request("POST", "/v2/virtual/new/blobs/uploads/")
    assert challenge.status == 401
    assert 'scope="repository:virtual/new:pull,push"' in challenge.headers["WWW-Authenticate"]
    refused = await people["virtual"].request("DELETE", "/v2/virtual/ours/manifests/v1")
    assert refused.status == (404 if rights == "members" else 403)


async def test_without_push_to(people: dict[str, Person]):
    """Who may pull is told that it takes no writes, and others what they are told of any repo."""
    for who, expected in (("team", 405), ("admin", 405), ("none", 404), ("nobody", 401)):
        answer = await people[who].request("POST", "/v2/virtual/new/blobs/uploads/")
        assert answer.status == expected, who


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_mounts(people: dict[str, Person], repos: Admin, admin: Administrator, bearer):
    """A mount from a virtual repo takes what a pull from there would."""
    await repos.change("virtual", push_to="team")
    scopes = ["repository:team/mine:pull,push", "repository:virtual/theirs:pull"]

    async def mount() -> int:
        person = await people["pusher"].bearer(*scopes) if bearer else people["pusher"]
        path = f"/v2/team/mine/blobs/uploads/?mount={digest_of(b'theirs')}&from=virtual/theirs"
        return (await person.request("POST", path)).status

    assert await mount() == 202
    await admin.grant("user:pusher", "lab", "pull")
    assert await mount() == 201
    unasked = await people["pusher"].bearer(scopes[0])
    path = f"/v2/team/mine/blobs/uploads/?mount={digest_of(b'app')}&from=virtual/app"
    assert (await unasked.request("POST", path)).status == 401  # it has only to ask for that as well
    await repos.change("virtual", rights="own")
    await admin.grant("user:virtual", "team", "push")
    there = f"/v2/team/own/blobs/uploads/?mount={digest_of(b'theirs')}&from=virtual/theirs"
    assert (await people["virtual"].request("POST", there)).status == 201


async def test_the_catalogue(people: dict[str, Person], repos: Admin):
    """It shows of a virtual repo what could be pulled from there by a tag."""
    for image in ("public", "app"):
        assert await status(people["admin"], f"hub/{image}/manifests/v1") == 200

    async def shown(who: str) -> list[str]:
        answer = await people[who].get("/v2/_catalog")
        return [name for name in answer.json["repositories"] if name.startswith("virtual/")]

    assert await shown("admin") == ["virtual/app", "virtual/ours", "virtual/public", "virtual/theirs"]
    assert await shown("lab") == ["virtual/app", "virtual/theirs"]
    assert await shown("hub") == ["virtual/public"]
    assert await shown("virtual") == []
    await repos.change("virtual", rights="own")
    assert await shown("virtual") == ["virtual/app", "virtual/ours", "virtual/public", "virtual/theirs"]
    assert await shown("lab") == []


async def test_who_administers_one_repo(people: dict[str, Person], admin: Administrator):
    """He may not let it show others, or stand for a registry, or change whom a remote repo asks: that takes all."""
    await admin.grant("user:none", "virtual", "admin")
    await admin.grant("user:none", "hub", "admin")
    someone = Admin(people["none"], people["none"].header)
    for repo, settings in (
        ("virtual", {"members": ["lab"]}),
        ("virtual", {"rights": "own"}),
        ("virtual", {"hosts": ["registry.example"]}),
        ("virtual", {"mirror_of": ["docker.io"]}),
        ("hub", {"upstream": "http://127.0.0.1:1"}),
        ("hub", {"password_secret": "of-others"}),
        ("hub", {"realms": ["127.0.0.1"]}),
    ):
        assert (await someone.try_to_change(repo, **settings)).status == 403, settings
    await someone.change("virtual", description="his own", push_to=None)
    await someone.change("hub", tag_ttl=60)


async def test_other_replicas_hear_of_it(people: dict[str, Person], repos: Admin, replica: Client):
    """Other rights count in every replica within seconds."""
    there = Person(replica, people["virtual"].header)
    assert await status(there, "virtual/ours/manifests/v1") == 404
    await repos.change("virtual", rights="own")
    assert await status(people["virtual"], "virtual/ours/manifests/v1") == 200
    path = "/v2/virtual/ours/manifests/v1"
    await deferToThread(eventually, lambda: there.send("GET", path).status == 200, 10)


async def test_a_pull_of_whoever_may_push(people: dict[str, Person], repos: Admin, admin: Administrator, upstream):
    """What a HEAD with a token that is for pulls alone is told of an upstream that fails is no push's 404."""
    await repos.change("virtual", push_to="team")
    await admin.grant("user:pusher", "hub", "pull")
    upstream.status = 500
    asked = {"pull": 502, "pull,push": 404}
    for actions, expected in asked.items():
        token = await people["pusher"].bearer(f"repository:virtual/new:{actions}")
        assert (await token.request("HEAD", "/v2/virtual/new/manifests/v1")).status == expected


def test_a_virtual_repo_that_was_made_elsewhere_a_moment_ago():
    """Until its rights are known here, those on its members count."""
    own = Grant("new", "*", frozenset({Right.PULL}))
    request = SimpleNamespace(name=ImageName("new", "app"), caller=Caller("user:alice", "none", ((own,),)))
    for unions, expected in (
        ({}, False),
        ({"new": Union((), True, None)}, True),
        ({"new": Union((), False, None)}, False),
    ):
        guard = Guard(SimpleNamespace(naming=Naming(unions)), None, None)  # type: ignore[arg-type]
        assert guard.may_pull(request)(ImageName("team", "app")) is expected  # type: ignore[arg-type]
