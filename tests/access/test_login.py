"""Logging in: what it costs, how long it is good for, and how often one may be wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from argon2 import PasswordHasher
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from artifactapi.access import passwords
from artifactapi.config import Config
from tests.access.hashing import Counted
from tests.access.people import API, PASSWORD, Administrator, Person
from tests.client import Client

IMAGE = "docker-internal/team/app"
MANIFEST = f"/v2/{IMAGE}/manifests/v1"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The hasher, watched."""
    watched = Counted(passwords.hasher)
    monkeypatch.setattr(passwords, "hasher", watched)
    return watched


async def test_a_password_is_compared_once(admin: Administrator, counted: Counted):
    """Request after request, and for tokens too, it is the first that costs; so is it after a grant has changed."""
    user = await admin.add_user("alice")
    counted.work.clear()
    for path in ("/v2/", "/token", f"{API}/me", "/v2/_catalog"):
        assert (await user.get(path)).status == 200
    assert counted.verified == 1
    await admin.grant("user:alice", "other", "pull")
    assert (await user.get("/v2/")).status == 200
    assert counted.verified == 1
    assert (await user.user("alice", "something else").get("/v2/")).status == 401
    assert counted.verified == 2


async def test_many_at_once(admin: Administrator, counted: Counted):
    """Twenty first requests with the same password compare it once."""
    user = await admin.add_user("alice")
    counted.work.clear()
    answers = await gatherResults([user.get("/v2/") for _ in range(20)])
    assert [answer.status for answer in answers] == [200] * 20
    assert counted.verified == 1


async def test_a_client_that_hangs_up(admin: Administrator, counted: Counted):
    """Others who wait for the same comparison are not told that it was called off."""
    user = await admin.add_user("alice")
    counted.work.clear()
    connection = user.connect()
    connection.sendall(f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: {user.header}\r\n\r\n".encode())
    waiting = [user.get("/v2/") for _ in range(5)]
    connection.close()
    assert [answer.status for answer in await gatherResults(waiting)] == [200] * 5


async def test_older_hashes(admin: Administrator, monkeypatch: pytest.MonkeyPatch, dsn: str):
    """A hash that cost less than today's is made again, of the same password, and ends nobody's login."""
    user = await admin.add_user("alice")
    bearer = await user.bearer(f"repository:{IMAGE}:pull")
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert (await user.user("alice", "wrong password").get("/v2/")).status == 401
    assert "m=8,t=1" in kept(dsn)
    again = user.user("alice", PASSWORD)
    again.header = again.header.replace("Basic", "basic")  # another header, of which nothing is remembered
    assert (await again.get("/v2/")).status == 200
    assert "m=16,t=2" in kept(dsn)
    assert (await again.get("/v2/")).status == (await bearer.get("/v2/")).status == 200


def kept(dsn: str) -> str:
    """What is kept of alice's password."""
    return str(rows(dsn, "SELECT password_hash FROM users WHERE name = 'alice'")[0][0])


def rows(dsn: str, sql: str) -> list[Any]:
    """The rows of a statement, which is committed."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


async def test_changes_that_hold_at_once(admin: Administrator):
    """Where it was made, a change is there with the next request, whatever was remembered."""
    await admin.push_image(IMAGE, "v1", b"layer")
    await admin.grant("group:team", "docker-internal", "pull")
    user = await admin.add_user("alice")
    bearer_of: dict[bool, Person] = {}

    async def may(status: int, with_old_token: bool = True) -> None:
        persons = [user, *([bearer_of[True]] if with_old_token and bearer_of else [])]
        for person in persons:
            assert (await person.get(MANIFEST)).status == status

    await may(404)
    assert (await admin.call("PATCH", "/users/alice", groups=["team"])).status == 200
    bearer_of[True] = await user.bearer(f"repository:{IMAGE}:pull")
    await may(200)
    assert (await admin.call("PATCH", "/users/alice", groups=[])).status == 200
    await may(404)
    grant = await admin.grant("user:alice", "docker-internal", "pull")
    await may(200)
    assert (await admin.request("DELETE", f"{API}/grants/{grant}")).status == 204
    await may(404)
    await admin.publish("docker-internal")
    await may(200)
    answer = await admin.call("PATCH", "/repos/docker-internal", settings={"anonymous_pull": None})
    assert answer.status == 200
    await may(404)
    assert (await admin.call("PATCH", "/users/alice", groups=["team"])).status == 200
    await may(200)
    assert (await admin.request("DELETE", f"{API}/repos/docker-internal?force=true")).status == 204
    await admin.make("/repos", name="docker-internal", package_type="docker", repo_type="local")
    await may(404)  # the grant went with the repo it was on


async def test_a_repo_that_is_public_from_the_first(admin: Administrator, nobody: Person):
    """A repo is as public as it was made, at once."""
    settings = {"anonymous_pull": True}
    await admin.make("/repos", name="open", package_type="docker", repo_type="local", settings=settings)
    await admin.push_image("open/app", "v1", b"layer")
    assert (await nobody.get("/v2/open/app/manifests/v1")).status == 200


async def test_another_password(admin: Administrator):
    """The old one is worth nothing at once, the new one is good at once, and so is the old one when it is back."""
    user = await admin.add_user("alice")
    bearer = await user.bearer()
    other = user.user("alice", "another password")
    assert (await user.get("/v2/")).status == (await bearer.get("/v2/")).status == 200
    assert (await admin.call("PATCH", "/users/alice", password="another password")).status == 200
    assert [(await person.get("/v2/")).status for person in (user, bearer, other)] == [401, 401, 200]
    assert (await admin.call("PATCH", "/users/alice", password=PASSWORD)).status == 200
    assert [(await person.get("/v2/")).status for person in (other, user)] == [401, 200]


async def test_a_user_who_is_disabled_and_enabled(admin: Administrator):
    """Disabled, neither password nor token is good; enabled again, both are at once, and bearer tokens are not."""
    user, token = await admin.add_user("alice"), await admin.add_token("his", user="alice")
    people = [user, token, await user.bearer()]
    assert [(await person.get("/v2/")).status for person in people] == [200, 200, 200]
    assert (await admin.call("PATCH", "/users/alice", disabled=True)).json["disabled"] is True
    assert [(await person.get("/v2/")).status for person in people] == [401, 401, 401]
    assert (await admin.call("PATCH", "/users/alice", disabled=False)).json["disabled"] is False
    assert [(await person.get("/v2/")).status for person in people] == [200, 200, 401]


async def test_enabled_again_without_a_try_between(admin: Administrator):
    """What was remembered of a password before the user was disabled does not stand in its way afterwards."""
    user = await admin.add_user("alice")
    assert (await user.get("/v2/")).status == 200
    for disabled in (True, False):
        assert (await admin.call("PATCH", "/users/alice", disabled=disabled)).status == 200
    assert (await user.ask()).status == 200
    assert (await user.get("/v2/")).status == 200


async def test_a_token_that_ends(admin: Administrator, nobody: Person):
    """A token is good until its end, and then neither it nor what came from it is, whatever was remembered."""
    await admin.add_user("alice")
    token = await admin.add_token("short", user="alice", expires_in=2)
    bearer = await token.bearer()
    secret = (await token.ask(offline_token="true")).json["refresh_token"]
    people = [token, bearer, token.user("x", token.secret), nobody.user("alice", secret)]
    assert [(await person.get("/v2/")).status for person in people] == [200] * 4
    deadline = time.monotonic() + 10
    while (await token.get("/v2/")).status == 200:
        assert time.monotonic() < deadline
        await deferLater(reactor, 0.05)
    assert [(await person.get("/v2/")).status for person in people] == [401] * 4
    assert (await nobody.post(grant_type="refresh_token", refresh_token=secret)).status == 401
    [shown] = [one for one in (await admin.get(f"{API}/tokens")).json["tokens"] if one["name"] == "short"]
    assert shown["expires_at"] > shown["created_at"]


async def test_the_last_use_of_a_token(admin: Administrator):
    """It is shown when a token was used last; never, before it was."""
    token = await admin.add_token("ci")

    async def shown() -> Any:
        return (await admin.get(f"{API}/tokens/{token.number}")).json["last_used_at"]

    assert await shown() is None
    assert (await token.get("/v2/")).status == 200
    first = await shown()
    assert first is not None
    assert (await token.bearer()).header != token.header
    assert await shown() == first  # a row is not written with every use


async def test_a_token_with_a_scope(admin: Administrator):
    """It acts as its user within its scope, and what he may beyond is not for it."""
    for image in (IMAGE, "other/app"):
        await admin.push_image(image, "v1", b"layer")
    scope = [{"repo": "docker-internal", "images": "team/*", "rights": ["pull"]}]
    token = await admin.add_token("reader", user="root", scope=scope)
    me = (await token.get(f"{API}/me")).json
    assert (me["actor"], me["credential"], len(me["all_of"])) == ("user:root", "token reader", 2)
    assert (await token.get(MANIFEST)).status == 200
    assert (await token.get("/v2/other/app/manifests/v1")).status == 404
    assert (await token.request("DELETE", MANIFEST)).code == "DENIED"
    assert (await token.get(f"{API}/users")).status == 403
    assert (await token.get("/v2/_catalog")).json == {"repositories": [IMAGE]}
    asked = await token.bearer(f"repository:{IMAGE}:*", "repository:other/app:pull")
    assert (await asked.get(MANIFEST)).status == 200
    assert (await asked.request("DELETE", MANIFEST)).code == "DENIED"
    answer = await token.ask(offline_token="true")
    back = token.showing(f"Bearer {answer.json['refresh_token']}")
    assert (await back.get("/v2/other/app/manifests/v1")).status == 404
    assert (await back.get(f"{API}/users")).status == 403


async def test_what_a_personal_token_may(admin: Administrator):
    """A token of a user may what he may, now: not what he might when it was made."""
    await admin.push_image(IMAGE, "v1", b"layer")
    await admin.add_user("alice")
    token = await admin.add_token("his", user="alice")
    assert (await token.get(MANIFEST)).status == 404
    await admin.grant("user:alice", "docker-internal", "pull")
    assert (await token.get(MANIFEST)).status == 200
    answer = await admin.call("POST", "/grants", to="token:his", repo="other", rights=["pull"])
    assert answer.status == 400  # nothing is granted to it
    assert (await admin.request("DELETE", f"{API}/users/alice")).status == 204
    assert (await token.get(MANIFEST)).status == 401


class Limited:
    """Two daemons where an account may be wrong three times in a quarter of an hour."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        """The daemons' configuration."""
        return replace(config, login_attempts=3)


class TestLimits(Limited):
    """Against guessing."""

    async def test_an_account(self, admin: Administrator, elsewhere: Person, dsn: str):
        """Guesses are counted at all replicas together; then even the right password is not looked at, for a while."""
        await admin.add_user("alice")
        await admin.add_user("bob")
        here, there = admin.showing(None), elsewhere
        for number, person in enumerate([here, there, here]):
            assert (await person.user("alice", f"guess {number}").get("/v2/")).status == 401
        for person in (here, there):
            for answer in (
                await person.user("alice", "guess").get("/v2/"),
                await person.user("alice").ask(),
                await person.post(grant_type="password", username="alice", password=PASSWORD),
            ):
                assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
                assert 1 <= int(answer.headers["Retry-After"]) <= 300
            assert (await person.user("bob").get("/v2/")).status == 200
        rows(dsn, "UPDATE login_attempts SET at = at - interval '301 seconds'")
        assert (await there.user("alice").get("/v2/")).status == 200
        assert (await there.user("alice", "guess").get("/v2/")).status == 401
        assert (await there.user("alice", "guess").get("/v2/")).status == 429
        rows(dsn, "UPDATE login_attempts SET at = at - interval '901 seconds'")
        assert (await here.user("alice").get("/v2/")).status == 200

    async def test_who_is_in_already(self, admin: Administrator):
        """Whoever has logged in goes on while others guess, with his password and his tokens."""
        user, token = await admin.add_user("alice"), await admin.add_token("his", user="alice")
        people = [user, token, await user.bearer(), admin]
        for number in range(35):
            await admin.user("alice", f"guess {number}").get("/v2/")
        assert (await admin.user("alice", "guess").get("/v2/")).status == 429
        for person in people:
            assert (await person.get("/v2/")).status == 200
        fresh = await admin.add_token("fresh", user="alice")
        assert (await fresh.get("/v2/")).status == 200

    async def test_an_address(self, admin: Administrator, elsewhere: Person):
        """Whoever guesses at many accounts, or at tokens, is stopped at ten times as many."""
        await admin.add_user("alice")
        guesses = [elsewhere.showing(f"Bearer aat_{number}") for number in range(10)]
        guesses += [admin.user(f"user{number}") for number in range(20)]
        assert [(await person.get("/v2/")).status for person in guesses] == [401] * 30
        for person in (admin.user("alice"), elsewhere.user("alice"), admin.user("anybody"), guesses[0]):
            answer = await person.get("/v2/")
            assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
            assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert (await admin.get("/v2/")).status == 200

    async def test_odd_names(self, admin: Administrator):
        """A name that nobody can have is counted as any other, and breaks nothing."""
        for name in ("al\0ice", "x" * 3000, "\u00e9\u202e", "' OR 1=1"):
            people = [admin.user(name, f"guess {number}") for number in range(4)]
            assert [(await person.get("/v2/")).status for person in people] == [401, 401, 401, 429]

    async def test_malformed_credentials(self, admin: Administrator):
        """What is no guess is not counted."""
        for number in range(40):
            assert (await admin.showing(f"Bearer a.{number}.c").get("/v2/")).status == 401
            assert (await admin.showing(f"Basic {number}").get("/v2/")).status == 401
        await admin.add_user("alice")
        assert (await admin.user("alice").get("/v2/")).status == 200


async def test_no_limit(admin: Administrator):
    """With 0 one may be wrong any number of times."""
    await admin.add_user("alice")
    for number in range(30):
        assert (await admin.user("alice", f"guess {number}").get("/v2/")).status == 401
    assert (await admin.user("alice").get("/v2/")).status == 200


@pytest.mark.parametrize("kind", ["user", "token"])
async def test_the_first_account(client: Client, nobody: Person, kind: str):
    """It must be an administrator's; until then everybody may everything, and then nobody who shows nothing."""
    if kind == "user":
        answer = await nobody.call("POST", "/users", name="alice", password=PASSWORD)
    else:
        answer = await nobody.call("POST", "/tokens", name="ci")
    assert (answer.status, answer.code) == (409, "NO_ADMINISTRATOR")
    assert (await nobody.get(f"{API}/{kind}s")).json == {f"{kind}s": []}
    await nobody.make("/users", name="root", password=PASSWORD, admin=True)
    for path in (f"{API}/users", f"{API}/audit", "/v2/", "/v2/_catalog", MANIFEST):
        assert (await nobody.get(path)).status == 401
    assert (await nobody.user("root").get(f"{API}/users")).status == 200


async def test_the_last_administrator(admin: Administrator):
    """Nothing takes the last one away: not for deleting, disabling, or taking back what makes one."""
    [grant] = (await admin.get(f"{API}/grants?to=user:root")).json["grants"]
    await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "admin")
    await admin.grant("user:alice", "*", "admin", images="team/*")
    await admin.grant("group:nobody", "*", "admin")
    await admin.make("/users", name="silent", admin=True)  # nobody can log in as him
    await admin.add_user("bob", admin=True)
    assert (await admin.call("PATCH", "/users/bob", disabled=True)).status == 200
    await admin.add_token("short", expires_in=3600)
    await admin.grant("token:short", "*", "admin")
    await admin.add_token("narrow", scope=[{"repo": "*", "images": "*", "rights": ["pull"]}])
    await admin.grant("token:narrow", "*", "admin")
    for method, path, fields in (
        ("DELETE", "/users/root", {}),
        ("PATCH", "/users/root", {"disabled": True}),
        ("DELETE", f"/grants/{grant['id']}", {}),
    ):
        answer = await admin.call(method, path, **fields)
        assert (answer.status, answer.code) == (409, "NO_ADMINISTRATOR"), (method, path)
    assert (await admin.call("PATCH", "/users/bob", disabled=False)).status == 200
    assert (await admin.user("bob").request("DELETE", f"{API}/users/root")).status == 204


async def test_the_last_administrator_by_group_and_by_token(admin: Administrator):
    """One who is it by a group stays in it, and a token that is it is not revoked, while there is no other."""
    await admin.grant("group:admins", "*", "admin")
    boss = await admin.add_user("boss", groups=["admins", "others"])
    assert (await boss.request("DELETE", f"{API}/users/root")).status == 204
    answer = await boss.call("PATCH", "/users/boss", groups=["others"])
    assert (answer.status, answer.code) == (409, "NO_ADMINISTRATOR")
    [grant] = (await boss.get(f"{API}/grants?to=group:admins")).json["grants"]
    assert (await boss.request("DELETE", f"{API}/grants/{grant['id']}")).code == "NO_ADMINISTRATOR"
    chief = Administrator(boss, boss.header)
    token = await chief.add_token("robot")
    await chief.grant("token:robot", "*", "admin")
    assert (await token.request("DELETE", f"{API}/users/boss")).status == 204
    answer = await token.request("DELETE", f"{API}/tokens/{token.number}")
    assert (answer.status, answer.code) == (409, "NO_ADMINISTRATOR")
    assert (await token.get(f"{API}/users")).json == {"users": []}


async def test_administrators_who_delete_each_other(admin: Administrator, elsewhere: Person):
    """Of two who do so at once, at two replicas, one stays."""
    for round_ in range(5):
        name = f"other{round_}"
        other = elsewhere.showing((await admin.add_user(name, admin=True)).header)
        assert (await other.get("/v2/")).status == 200
        answers = await gatherResults(
            [
                admin.request("DELETE", f"{API}/users/{name}"),
                other.request("DELETE", f"{API}/users/root"),
            ]
        )
        statuses = [answer.status for answer in answers]
        assert statuses.count(204) == 1, statuses
        if statuses[1] == 204:
            admin = Administrator(admin, other.header)
            await admin.make("/users", name="root", password=PASSWORD, admin=True)
            admin = Administrator(admin, admin.user("root").header)
            assert (await admin.request("DELETE", f"{API}/users/{name}")).status == 204
