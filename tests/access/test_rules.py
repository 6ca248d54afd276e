"""Who may do what, over every route of the daemon: each cell tried with Basic, with tokens and with nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
import pytest_twisted

from artifactapi.service import Artifactapi
from tests.access.people import API, Administrator, Person
from tests.api.test_routes import all_routes
from tests.client import Answer, digest_of

IMAGE = "docker-internal/team/app"
PUBLIC = "other/team/app"
BLOB, ABSENT = digest_of(b"blob"), "sha256:" + "0" * 64
NO_UPLOAD = "00000000-0000-4000-8000-000000000000"


class Row(NamedTuple):
    """A request that changes nothing, whoever sends it: what it takes, and how it is answered to those who have it."""

    needs: str
    path: str
    status: int
    body: bytes | None = None


# What it takes: a right to the image; `catalog` and `login`, which everybody has who is known; `repo`, the right to
# administer it; `admin`, to administer all; `anyone`, nothing at all.
TABLE: dict[tuple[str, str], Row] = {
    ("base", "GET"): Row("login", "/v2/", 200),
    ("base", "HEAD"): Row("login", "/v2/", 200),
    ("catalog", "GET"): Row("catalog", "/v2/_catalog", 200),
    ("catalog", "HEAD"): Row("catalog", "/v2/_catalog", 200),
    ("tags", "GET"): Row("pull", "/v2/{image}/tags/list", 200),
    ("tags", "HEAD"): Row("pull", "/v2/{image}/tags/list", 200),
    ("referrers", "GET"): Row("pull", f"/v2/{{image}}/referrers/{ABSENT}", 200),
    ("referrers", "HEAD"): Row("pull", f"/v2/{{image}}/referrers/{ABSENT}", 200),
    ("manifest", "GET"): Row("pull", "/v2/{image}/manifests/v1", 200),
    ("manifest", "HEAD"): Row("pull", "/v2/{image}/manifests/v1", 200),
    ("manifest", "PUT"): Row("push", "/v2/{image}/manifests/v1", 400, b""),
    ("manifest", "DELETE"): Row("delete", f"/v2/{{image}}/manifests/{ABSENT}", 404),
    ("blob", "GET"): Row("pull", f"/v2/{{image}}/blobs/{BLOB}", 200),
    ("blob", "HEAD"): Row("pull", f"/v2/{{image}}/blobs/{BLOB}", 200),
    ("blob", "DELETE"): Row("delete", f"/v2/{{image}}/blobs/{ABSENT}", 404),
    ("uploads", "POST"): Row("push", "/v2/{image}/blobs/uploads/?digest=x", 400, b"x"),
    ("upload", "GET"): Row("push", f"/v2/{{image}}/blobs/uploads/{NO_UPLOAD}", 404),
    ("upload", "HEAD"): Row("push", f"/v2/{{image}}/blobs/uploads/{NO_UPLOAD}", 404),
    ("upload", "PATCH"): Row("push", f"/v2/{{image}}/blobs/uploads/{NO_UPLOAD}", 404, b"x"),
    ("upload", "PUT"): Row("push", f"/v2/{{image}}/blobs/uploads/{NO_UPLOAD}?digest={BLOB}", 404, b"x"),
    ("upload", "DELETE"): Row("push", f"/v2/{{image}}/blobs/uploads/{NO_UPLOAD}", 404),
    ("/api/v1/repos", "GET"): Row("login", "/api/v1/repos", 200),
    ("/api/v1/repos", "HEAD"): Row("login", "/api/v1/repos", 200),
    ("/api/v1/repos", "POST"): Row("admin", "/api/v1/repos", 400, b"{}"),
    ("/api/v1/repos/<repo>", "GET"): Row("repo", "/api/v1/repos/{repo}", 200),
    ("/api/v1/repos/<repo>", "HEAD"): Row("repo", "/api/v1/repos/{repo}", 200),
    ("/api/v1/repos/<repo>", "PATCH"): Row("repo", "/api/v1/repos/{repo}", 400, b"{"),
    ("/api/v1/repos/<repo>", "DELETE"): Row("repo", "/api/v1/repos/{repo}?force=x", 400),
    ("/api/v1/gc", "GET"): Row("admin", "/api/v1/gc", 200),
    ("/api/v1/gc", "HEAD"): Row("admin", "/api/v1/gc", 200),
    ("/api/v1/gc", "POST"): Row("admin", "/api/v1/gc?dry_run=x", 400, b""),
    ("/api/v1/me", "GET"): Row("login", "/api/v1/me", 200),
    ("/api/v1/me", "HEAD"): Row("login", "/api/v1/me", 200),
    ("/api/v1/users", "GET"): Row("admin", "/api/v1/users", 200),
    ("/api/v1/users", "HEAD"): Row("admin", "/api/v1/users", 200),
    ("/api/v1/users", "POST"): Row("admin", "/api/v1/users", 400, b"{}"),
    ("/api/v1/users/<user>", "GET"): Row("admin", "/api/v1/users/root", 200),
    ("/api/v1/users/<user>", "HEAD"): Row("admin", "/api/v1/users/root", 200),
    ("/api/v1/users/<user>", "PATCH"): Row("admin", "/api/v1/users/root", 400, b"{"),
    ("/api/v1/users/<user>", "DELETE"): Row("admin", "/api/v1/users/missing", 404),
    ("/api/v1/tokens", "GET"): Row("admin", "/api/v1/tokens", 200),
    ("/api/v1/tokens", "HEAD"): Row("admin", "/api/v1/tokens", 200),
    ("/api/v1/tokens", "POST"): Row("admin", "/api/v1/tokens", 400, b"{}"),
    ("/api/v1/tokens/<token>", "GET"): Row("admin", "/api/v1/tokens/0", 404),
    ("/api/v1/tokens/<token>", "HEAD"): Row("admin", "/api/v1/tokens/0", 404),
    ("/api/v1/tokens/<token>", "DELETE"): Row("admin", "/api/v1/tokens/0", 404),
    ("/api/v1/grants", "GET"): Row("repo", "/api/v1/grants?repo={repo}", 200),
    ("/api/v1/grants", "HEAD"): Row("repo", "/api/v1/grants?repo={repo}", 200),
    ("/api/v1/grants", "POST"): Row("repo", "/api/v1/grants", 400, b'{"repo": "docker-internal"}'),
    ("/api/v1/grants/<grant>", "GET"): Row("repo", "/api/v1/grants/0", 404),
    ("/api/v1/grants/<grant>", "HEAD"): Row("repo", "/api/v1/grants/0", 404),
    ("/api/v1/grants/<grant>", "DELETE"): Row("repo", "/api/v1/grants/0", 404),
    ("/api/v1/issuers", "GET"): Row("admin", "/api/v1/issuers", 200),
    ("/api/v1/issuers", "HEAD"): Row("admin", "/api/v1/issuers", 200),
    ("/api/v1/issuers", "POST"): Row("admin", "/api/v1/issuers", 400, b"{}"),
    ("/api/v1/issuers/<issuer>", "GET"): Row("admin", "/api/v1/issuers/missing", 404),
    ("/api/v1/issuers/<issuer>", "HEAD"): Row("admin", "/api/v1/issuers/missing", 404),
    ("/api/v1/issuers/<issuer>", "DELETE"): Row("admin", "/api/v1/issuers/missing", 404),
    ("/api/v1/identities", "GET"): Row("admin", "/api/v1/identities", 200),
    ("/api/v1/identities", "HEAD"): Row("admin", "/api/v1/identities", 200),
    ("/api/v1/identities", "POST"): Row("admin", "/api/v1/identities", 400, b"{}"),
    ("/api/v1/identities/<identity>", "GET"): Row("admin", "/api/v1/identities/missing", 404),
    ("/api/v1/identities/<identity>", "HEAD"): Row("admin", "/api/v1/identities/missing", 404),
    ("/api/v1/identities/<identity>", "DELETE"): Row("admin", "/api/v1/identities/missing", 404),
    ("/api/v1/keys", "GET"): Row("admin", "/api/v1/keys", 200),
    ("/api/v1/keys", "HEAD"): Row("admin", "/api/v1/keys", 200),
    ("/api/v1/keys", "POST"): Row("admin", "/api/v1/keys?revoke=x", 400, b""),
    ("/api/v1/audit", "GET"): Row("admin", "/api/v1/audit", 200),
    ("/api/v1/audit", "HEAD"): Row("admin", "/api/v1/audit", 200),
    ("/token", "GET"): Row("anyone", "/token", 200),
    ("/token", "HEAD"): Row("anyone", "/token", 200),
    ("/token", "POST"): Row("anyone", "/token", 400, b""),
    ("/healthz", "GET"): Row("anyone", "/healthz", 200),
    ("/healthz", "HEAD"): Row("anyone", "/healthz", 200),
    ("/readyz", "GET"): Row("anyone", "/readyz", 200),
    ("/readyz", "HEAD"): Row("anyone", "/readyz", 200),
    ("/metrics", "GET"): Row("anyone", "/metrics", 200),
    ("/metrics", "HEAD"): Row("anyone", "/metrics", 200),
}
RIGHTS = ("pull", "push", "delete")
OF_IMAGES = [row for row in TABLE.items() if row[1].needs in RIGHTS]
# What each may, by name.
MAY: dict[str, set[str]] = {
    "none": set(),
    "pull": {"pull"},
    "push": {"pull", "push"},
    "delete": {"pull", "delete"},
    "repo": {*RIGHTS, "repo"},
    "admin": {*RIGHTS, "repo", "admin"},
}
EVERYBODY = {"login", "catalog", "anyone"}


def test_every_route_has_a_row(service: Artifactapi):
    """A route or a method without a row here fails this test."""
    assert {(route, method) for route, methods in all_routes(service).items() for method in methods} == TABLE.keys()


@pytest_twisted.async_yield_fixture
async def people(admin: Administrator):
    """Somebody for each right, in a registry with an image in a private repo and one in a public repo."""
    for name in (IMAGE, PUBLIC):
        await admin.push_image(name, "v1", b"blob")
    await admin.publish("other")
    somebody = {}
    for name in MAY:
        somebody[name] = await admin.add_user(name)
        if name in RIGHTS:
            await admin.grant(f"user:{name}", "docker-internal", name)
    await admin.grant("user:repo", "docker-internal", "admin")
    await admin.grant("user:admin", "*", "admin")
    yield somebody


def request(who: Person, method: str, row: Row, image: str = IMAGE):
    """The row's request, about that image and its repo."""
    return who.request(method, row.path.format(image=image, repo=image.partition("/")[0]), row.body)


def challenged(answer: Answer, row: Row, image: str = IMAGE) -> bool:
    """Whether it is asked who it is, and told where to get a token for what."""
    header = answer.headers.get("WWW-Authenticate", "")
    wanted = {
        "pull": f'scope="repository:{image}:pull"',
        "push": f'scope="repository:{image}:pull,push"',
        "delete": f'scope="repository:{image}:delete"',
        "catalog": 'scope="registry:catalog:*"',
    }.get(row.needs, "")
    return (
        answer.status == 401 and header.startswith('Bearer realm="http://127.0.0.1:') and "/token" in header
    ) and wanted in header


def refused(answer: Answer, method: str, status: int, code: str) -> bool:
    """Whether it is that error; HEAD has no body to tell the code."""
    return answer.status == status and (method == "HEAD" or answer.code == code)


def admitted(answer: Answer, method: str, row: Row) -> bool:
    """Whether it is answered as it is to those who may."""
    return answer.status == row.status and (
        method == "HEAD" or row.status != 404 or answer.code != "NAME_UNKNOWN" or row.needs in ("admin", "repo")
    )


def as_it_should(answer: Answer, method: str, row: Row, may: set[str]) -> bool:
    """Whether somebody who is known, and may that, gets the answer he should."""
    if row.needs in may | EVERYBODY:
        return admitted(answer, method, row)
    if row.needs in RIGHTS and "pull" not in may:
        return refused(answer, method, 404, "NAME_UNKNOWN")
    return refused(answer, method, 403, "DENIED")


def wrong(cells: Iterable[tuple[object, Answer, bool]]) -> list[object]:
    """The cells that are not as they should be."""
    return [(*cell, answer.status, answer.body[:200]) for *cell, answer, right in cells if not right]


async def test_with_nothing(people: dict[str, Person], nobody: Person):
    """Whoever shows nothing is asked who he is, everywhere but where anyone may come; a public repo lets him pull."""
    cells = []
    for (route, method), row in TABLE.items():
        answer = await request(nobody, method, row)
        open_to_all = row.needs in ("anyone", "catalog")  # what there is of the catalogue is the public repo's
        right = admitted(answer, method, row) if open_to_all else challenged(answer, row)
        cells.append((route, method, answer, right))
    for (route, method), row in OF_IMAGES:
        answer = await request(nobody, method, row, PUBLIC)
        right = admitted(answer, method, row) if row.needs == "pull" else challenged(answer, row, PUBLIC)
        cells.append((f"public {route}", method, answer, right))
    assert wrong(cells) == []


@pytest.mark.parametrize("name", MAY)
async def test_with_basic_and_with_a_token(admin: Administrator, people: dict[str, Person], name: str):
    """Each gets what he may with a password, with a token of his own, as Bearer or as a password, and no more."""
    token = await admin.add_token("his", user=name)
    cells = []
    for who in (people[name], token, token.user("whoever", token.secret)):
        for (route, method), row in TABLE.items():
            answer = await request(who, method, row)
            right = as_it_should(answer, method, row, MAY[name])
            if route == "/token" and method != "POST":
                right = answer.status == 200
            cells.append((route, method, answer, right))
    assert wrong(cells) == []


@pytest.mark.parametrize("name", MAY)
async def test_machines(admin: Administrator, people: dict[str, Person], name: str):
    """A machine's token gets what was granted to it."""
    machine = await admin.add_token("machine")
    if name in RIGHTS:
        await admin.grant("token:machine", "docker-internal", name)
    elif name != "none":
        await admin.grant("token:machine", "docker-internal" if name == "repo" else "*", "admin")
    cells = []
    for (route, method), row in TABLE.items():
        answer = await request(machine, method, row)
        cells.append((route, method, answer, as_it_should(answer, method, row, MAY[name])))
    assert wrong(cells) == []


@pytest.mark.parametrize("name", MAY)
async def test_with_a_bearer_token(people: dict[str, Person], name: str):
    """A bearer token for all scopes gets what its owner may of images; the management API is not for it."""
    bearer = await people[name].bearer(f"repository:{IMAGE}:*", "registry:catalog:*")
    cells = []
    for (route, method), row in TABLE.items():
        answer = await request(bearer, method, row)
        right = as_it_should(answer, method, row, MAY[name] - {"repo", "admin"})
        if route == "/token" and method != "POST":
            right = answer.status == 401  # it gives no other token
        cells.append((route, method, answer, right))
    assert wrong(cells) == []


@pytest.mark.parametrize("name", MAY)
async def test_with_a_bearer_token_for_something_else(people: dict[str, Person], name: str):
    """A token that was not asked for what its owner may is told for what to ask; what he may not is refused anyway."""
    bearer = await people[name].bearer("repository:docker-internal/another:*")
    cells = []
    for (route, method), row in TABLE.items():
        if row.needs not in (*RIGHTS, "catalog"):
            continue
        answer = await request(bearer, method, row)
        if row.needs in MAY[name] | {"catalog"}:
            right = challenged(answer, row) and 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        else:
            right = as_it_should(answer, method, row, MAY[name])
        cells.append((route, method, answer, right))
    assert wrong(cells) == []


async def test_an_anonymous_bearer_token(people: dict[str, Person], nobody: Person):
    """The token that everybody gets is good for pulls from the public repo, and nothing else."""
    bearer = await nobody.bearer(f"repository:{PUBLIC}:*", f"repository:{IMAGE}:*", "registry:catalog:*")
    cells = []
    for (route, method), row in OF_IMAGES:
        private, public = await request(bearer, method, row), await request(bearer, method, row, PUBLIC)
        cells.append((route, method, private, challenged(private, row)))
        right = admitted(public, method, row) if row.needs == "pull" else challenged(public, row, PUBLIC)
        cells.append((f"public {route}", method, public, right))
    for (route, method), row in TABLE.items():
        if row.needs in ("repo", "admin"):
            answer = await request(bearer, method, row)
            cells.append((route, method, answer, challenged(answer, row)))
    assert wrong(cells) == []


async def test_the_public_repo(people: dict[str, Person]):
    """Who is known may pull from the public repo as everybody may; for more he needs a right to it."""
    cells = []
    for name in ("none", "push", "admin"):
        for (route, method), row in OF_IMAGES:
            answer = await request(people[name], method, row, PUBLIC)
            may = MAY["admin"] if name == "admin" else {"pull"}
            cells.append((name, route, method, answer, as_it_should(answer, method, row, may)))
    assert wrong(cells) == []


async def test_what_may_not_be_seen(admin: Administrator, people: dict[str, Person], nobody: Person):
    """An image, and a repo, that exists is answered byte for byte as one that does not."""
    await admin.make("/repos", name="secret-a", package_type="docker", repo_type="local")
    await admin.push_image("secret-a/team/app", "v1", b"blob")
    unasked = await people["none"].bearer()
    cells = []
    for who in (people["none"], people["pull"], nobody, unasked, await nobody.bearer()):
        for (route, method), row in OF_IMAGES:
            seen = []
            for image in ("secret-a/team/app", "secret-b/team/app", "secret-a/team/not"):
                answer = await request(who, method, row, image)
                kept = {k: v for k, v in answer.headers.items() if k not in ("Date", "X-Request-Id")}
                seen.append(repr((answer.status, kept, answer.body)).replace(image, "IMAGE"))
            shown = [text.replace("secret-a", "REPO").replace("secret-b", "REPO") for text in seen]
            cells.append((route, method, answer, len(set(shown)) == 1 and answer.status in (401, 404)))
    assert wrong(cells) == []


async def test_what_is_said_of_it(admin: Administrator):
    """Who pushes beside what was granted is not told that the repo is not there: he knows it."""
    user = await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "push", images="team/*")
    answer = await user.request("POST", "/v2/docker-internal/other/app/blobs/uploads/")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    assert answer.json["errors"][0]["message"] == "no image 'docker-internal/other/app', or no right to pull it"


async def test_patterns_of_images(admin: Administrator, people: dict[str, Person]):
    """A grant on a pattern is for the images that match, each right by itself, and administers nothing."""
    who = people["none"]
    await admin.grant("user:none", "docker-internal", "pull", images="team/*")
    await admin.grant("user:none", "docker-internal", "push", "delete", images="team/b?")
    await admin.grant("user:none", "docker-internal", "admin", images="mine/*")
    tried = {
        "team/app": {"pull"},
        "team/b": {"pull"},
        "team/b1": {"pull", "push", "delete"},
        "team/b12": {"pull"},
        "team/b1/c": {"pull"},
        "teams/b1": set(),
        "a/team/b1": set(),
        "mine/x": set(RIGHTS),
        "mine": set(),
    }
    cells = []
    for image, may in tried.items():
        for right in RIGHTS:
            method, row = {
                "pull": ("GET", TABLE["referrers", "GET"]),
                "push": ("POST", TABLE["uploads", "POST"]),
                "delete": ("DELETE", TABLE["manifest", "DELETE"]),
            }[right]
            answer = await request(who, method, row, f"docker-internal/{image}")
            cells.append((image, right, answer, as_it_should(answer, method, row, may)))
    for method in ("GET", "PATCH", "DELETE"):
        row = TABLE["/api/v1/repos/<repo>", method]
        answer = await request(who, method, row)
        cells.append(("repo", method, answer, refused(answer, method, 403, "DENIED")))
    assert wrong(cells) == []


async def test_an_administrator_of_one_repo(admin: Administrator, people: dict[str, Person]):
    """He gives and takes rights to his repo alone, sees it alone, and does not learn of other repos or their grants."""
    who = people["repo"]
    other = await admin.grant("user:pull", "other", "push")
    everywhere = await admin.grant("user:pull", "*", "pull")
    mine = await who.make("/grants", to="user:none", repo="docker-internal", rights=["pull"])
    assert mine["created_by"] == "user:repo"
    assert (await who.get(f"{API}/grants/{mine['id']}")).json == mine
    for repo in ("other", "missing", "*"):
        answer = await who.call("POST", "/grants", to="user:repo", repo=repo, rights=["admin"])
        assert (answer.status, answer.code) == (403, "DENIED")
    assert (await who.get(f"{API}/grants")).status == 403
    assert (await who.get(f"{API}/grants?repo=docker-internal&repo=other")).status == 403
    assert [repo["name"] for repo in (await who.get(f"{API}/repos")).json["repos"]] == ["docker-internal"]
    missing = await who.get(f"{API}/grants/999999999")
    assert missing.status == 404
    for method in ("GET", "DELETE"):
        for grant in (other, everywhere):
            answer = await who.request(method, f"{API}/grants/{grant}")
            assert answer.status == 404
            assert answer.body == missing.body.replace(b"999999999", str(grant).encode())
    assert {grant["id"] for grant in (await admin.get(f"{API}/grants")).json["grants"]} >= {other, everywhere}
    assert (await who.request("DELETE", f"{API}/grants/{mine['id']}")).status == 204
    assert (await people["none"].get(f"/v2/{IMAGE}/manifests/v1")).status == 404
