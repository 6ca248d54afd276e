"""The audit: every write leaves one entry, and what did not happen leaves none."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from artifactapi.api.endpoint import READS
from artifactapi.service import Artifactapi
from tests.access.people import API, FORM, PASSWORD, Administrator, Person
from tests.client import OCI_MANIFEST, Answer, digest_of

IMAGE = "docker-internal/team/app"
NO_UPLOAD = "00000000-0000-4000-8000-000000000000"
ABSENT = "sha256:" + "0" * 64
Make = Callable[[Administrator], Awaitable[dict[str, Any]]]


async def nothing(admin: Administrator) -> dict[str, Any]:
    """Nothing is needed before."""
    return {}


async def an_image(admin: Administrator) -> dict[str, Any]:
    """An image, v1."""
    digest, manifest = await admin.push_image(IMAGE, "v1", b"layer")
    return {"digest": digest, "manifest": manifest, "layer": digest_of(b"layer")}


async def another_image(admin: Administrator) -> dict[str, Any]:
    """An image, v1, and a manifest that is to take the tag."""
    before = await an_image(admin)
    digest, manifest = await admin.push_image(IMAGE, "v2", b"layer", annotations={"a": "b"})
    return {"before": before["digest"], "digest": digest, "manifest": manifest}


async def a_user(admin: Administrator) -> dict[str, Any]:
    """A user, alice."""
    await admin.add_user("alice")
    return {}


async def a_token(admin: Administrator) -> dict[str, Any]:
    """A token's id."""
    return {"id": (await admin.add_token("ci")).number}


async def a_grant(admin: Administrator) -> dict[str, Any]:
    """A grant's id."""
    await admin.add_user("alice")
    return {"id": await admin.grant("user:alice", "docker-internal", "pull", images="team/*")}


ISSUER = {"name": "ci", "url": "https://ci.example", "audience": "https://us.example"}
IDENTITY = {"name": "build", "issuer": "ci", "claims": {"sub": "job:1"}}


async def an_issuer(admin: Administrator) -> dict[str, Any]:
    """A trusted issuer."""
    await admin.make("/issuers", **ISSUER)
    return {}


async def an_identity(admin: Administrator) -> dict[str, Any]:
    """An identity of a trusted issuer."""
    await an_issuer(admin)
    await admin.make("/identities", **IDENTITY)
    return {}


@dataclass(frozen=True)
class Row:
    """A write, and its entry; `{…}` stands for what `make` has made. `entry` None: it is not an affair of the audit."""

    path: str
    body: Any = None
    entry: dict[str, Any] | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    make: Make = nothing
    form: str = "application/json"


TEAM = {"repo": "docker-internal", "image": "team/app"}
# An upload is nobody's business before a manifest names it; the collector has runs of its own to show.
TABLE: dict[tuple[str, str], Row] = {
    ("uploads", "POST"): Row(f"/v2/{IMAGE}/blobs/uploads/?digest={digest_of(b'x')}", b"x"),
    ("upload", "PATCH"): Row("{location}", b"x"),
    ("upload", "PUT"): Row(f"{{location}}?digest={digest_of(b'x')}", b"x"),
    ("upload", "DELETE"): Row("{location}"),
    ("blob", "DELETE"): Row(
        f"/v2/{IMAGE}/blobs/{{layer}}", None, {"action": "blob.delete", **TEAM, "digest": "{layer}"}, make=an_image
    ),
    ("manifest", "PUT"): Row(
        f"/v2/{IMAGE}/manifests/v9",
        "{manifest}",
        {"action": "manifest.push", **TEAM, "tag": "v9", "digest": "{digest}"},
        make=an_image,
        form=OCI_MANIFEST,
    ),
    ("manifest", "DELETE"): Row(
        f"/v2/{IMAGE}/manifests/{{digest}}",
        None,
        {"action": "manifest.delete", **TEAM, "digest": "{digest}"},
        {"tags": ["v1"]},
        make=an_image,
    ),
    ("/api/v1/repos", "POST"): Row(
        f"{API}/repos",
        {"name": "new", "package_type": "docker", "repo_type": "local", "settings": {"allow_delete": False}},
        {"action": "repo.create", "repo": "new"},
        {"settings": {"allow_delete": False}},
    ),
    ("/api/v1/repos/<repo>", "PATCH"): Row(
        f"{API}/repos/other",
        {"settings": {"description": "x", "redirect": None}},
        {"action": "repo.change", "repo": "other"},
        {"settings": {"description": "x", "redirect": None}},
    ),
    ("/api/v1/repos/<repo>", "DELETE"): Row(
        f"{API}/repos/other?force=true", None, {"action": "repo.delete", "repo": "other"}, {"force": True}
    ),
    ("/api/v1/gc", "POST"): Row(f"{API}/gc"),
    ("/api/v1/users", "POST"): Row(
        f"{API}/users",
        {"name": "new", "password": PASSWORD, "groups": ["g"]},
        {"action": "user.create"},
        {"user": "new", "groups": ["g"], "admin": False},
    ),
    ("/api/v1/users/<user>", "PATCH"): Row(
        f"{API}/users/alice",
        {"password": "something new", "groups": ["h"], "disabled": True},
        {"action": "user.change"},
        {"user": "alice", "password": "new", "groups": ["h"], "disabled": True},
        make=a_user,
    ),
    ("/api/v1/users/<user>", "DELETE"): Row(
        f"{API}/users/alice", None, {"action": "user.delete"}, {"user": "alice"}, make=a_user
    ),
    ("/api/v1/tokens", "POST"): Row(
        f"{API}/tokens",
        {"name": "t", "user": "alice", "expires_in": 60},
        {"action": "token.create"},
        {"token": "t", "user": "alice", "expires_in": 60},
        make=a_user,
    ),
    ("/api/v1/tokens/<token>", "DELETE"): Row(
        f"{API}/tokens/{{id}}", None, {"action": "token.delete"}, {"token": "ci"}, make=a_token
    ),
    ("/api/v1/grants", "POST"): Row(
        f"{API}/grants",
        {"to": "user:alice", "repo": "other", "rights": ["push"]},
        {"action": "grant.create", "repo": "other"},
        {"to": "user:alice", "images": "*", "rights": ["push"]},
        make=a_user,
    ),
    ("/api/v1/grants/<grant>", "DELETE"): Row(
        f"{API}/grants/{{id}}",
        None,
        {"action": "grant.delete", "repo": "docker-internal"},
        {"to": "user:alice", "images": "team/*", "rights": ["pull"], "grant": "{id}"},
        make=a_grant,
    ),
    ("/api/v1/issuers", "POST"): Row(
        f"{API}/issuers",
        ISSUER,
        {"action": "issuer.create"},
        {"issuer": "ci", "url": "https://ci.example", "audience": "https://us.example"},
    ),
    ("/api/v1/issuers/<issuer>", "DELETE"): Row(
        f"{API}/issuers/ci", None, {"action": "issuer.delete"}, {"issuer": "ci"}, make=an_identity
    ),
    ("/api/v1/identities", "POST"): Row(
        f"{API}/identities",
        IDENTITY,
        {"action": "identity.create"},
        {"identity": "build", "issuer": "ci", "claims": {"sub": "job:1"}},
        make=an_issuer,
    ),
    ("/api/v1/identities/<identity>", "DELETE"): Row(
        f"{API}/identities/build",
        None,
        {"action": "identity.delete"},
        {"identity": "build", "issuer": "ci"},
        make=an_identity,
    ),
    ("/api/v1/keys", "POST"): Row(f"{API}/keys", None, {"action": "key.rotate"}, {"revoke": False}),
    ("/token", "POST"): Row("/token", b"grant_type=password&username=root&password=correct+horse", form=FORM),
}
# The same writes, as they fail: (method, path, body). Who sends them is an administrator.
FAILURES: list[tuple[str, str, Any]] = [
    ("DELETE", f"/v2/{IMAGE}/blobs/{ABSENT}", None),
    ("PUT", f"/v2/{IMAGE}/manifests/v1", b"{"),
    ("PUT", f"/v2/{IMAGE}/manifests/{ABSENT}", b"{}"),
    ("PUT", "/v2/missing/app/manifests/v1", b"{}"),
    ("DELETE", f"/v2/{IMAGE}/manifests/{ABSENT}", None),
    ("DELETE", f"/v2/{IMAGE}/manifests/missing", None),
    ("DELETE", "/v2/missing/app/manifests/v1", None),
    ("POST", f"{API}/repos", {"name": "other", "package_type": "docker", "repo_type": "local"}),
    ("PATCH", f"{API}/repos/missing", {"settings": {}}),
    ("PATCH", f"{API}/repos/other", {"settings": {"immutable_tags": "v*"}}),
    ("DELETE", f"{API}/repos/missing", None),
    ("DELETE", f"{API}/repos/docker-internal", None),
    ("POST", f"{API}/users", {"name": "root", "password": PASSWORD}),
    ("POST", f"{API}/users", {"name": "x", "password": "short"}),
    ("PATCH", f"{API}/users/missing", {"disabled": True}),
    ("PATCH", f"{API}/users/root", {"disabled": True}),
    ("DELETE", f"{API}/users/root", None),
    ("DELETE", f"{API}/users/missing", None),
    ("POST", f"{API}/tokens", {"name": "ci"}),
    ("POST", f"{API}/tokens", {"name": "x", "user": "missing"}),
    ("DELETE", f"{API}/tokens/999999", None),
    ("POST", f"{API}/grants", {"to": "user:missing", "repo": "other", "rights": ["pull"]}),
    ("POST", f"{API}/grants", {"to": "user:root", "repo": "missing", "rights": ["pull"]}),
    ("DELETE", f"{API}/grants/999999", None),
    ("POST", f"{API}/issuers", {"name": "x", "url": "http://x.example", "audience": "a"}),
    ("DELETE", f"{API}/issuers/missing", None),
    ("POST", f"{API}/identities", {"name": "x", "issuer": "missing", "claims": {"sub": "x"}}),
    ("DELETE", f"{API}/identities/missing", None),
    ("POST", f"{API}/keys?revoke=x", None),
]


def is_write(method: str) -> bool:
    """Whether a route's method changes anything."""
    return method not in READS


def test_every_write_has_a_row(service: Artifactapi):
    """A route that writes without a row here fails this test."""
    routes = {(kind, method.decode()) for kind, methods in service.v2.routes.items() for method in methods}
    routes |= {(endpoint.path, method) for endpoint in service.endpoints for method in endpoint.methods}
    assert {(route, method) for route, method in routes if is_write(method)} == TABLE.keys()


def filled(value: Any, made: dict[str, Any]) -> Any:
    """The value with what was made in place of {…}."""
    if isinstance(value, str) and value[1:-1] in made and value[:1] == "{":
        return made[value[1:-1]]
    if isinstance(value, dict):
        return {key: filled(one, made) for key, one in value.items()}
    return value.format(**made) if isinstance(value, str) else value


def send(admin: Person, method: str, path: str, body: Any, form: str = "application/json", **headers: str):
    """The request with a body of any kind."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return admin.request(method, path, content, content_type=form, **headers)


@pytest.mark.parametrize("route, method", TABLE, ids=lambda value: value.replace("/", "_"))
async def test_a_write(admin: Administrator, route: str, method: str):
    """It leaves one entry: who did it, with what, from where, in which request, to what."""
    row = TABLE[route, method]
    made = await row.make(admin)
    if "{location}" in row.path:
        made["location"] = (await admin.request("POST", f"/v2/{IMAGE}/blobs/uploads/")).headers["Location"]
    before = await admin.audit()
    answer = await send(admin, method, filled(row.path, made), filled(row.body, made), row.form, x_request_id="write-1")
    assert answer.status < 300, answer.body
    fresh = [entry for entry in await admin.audit() if entry not in before]
    if row.entry is None:
        assert fresh == []
        return
    [entry] = fresh
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entry.pop("at"))) < timedelta(minutes=5)
    assert entry.pop("id") > max([one["id"] for one in before], default=0)
    detail = entry.pop("detail")
    who = {"actor": "user:root", "credential": "password", "address": "127.0.0.1", "request_id": "write-1"}
    assert entry == who | filled(row.entry, made)
    expected = filled(row.detail, made)
    assert {key: detail[key] for key in expected} == expected
    assert set(detail) - set(expected) <= {"grant", "key", "url"}
    assert PASSWORD not in str(detail)


async def test_what_did_not_happen(admin: Administrator):
    """A write that was refused, or failed, leaves nothing; nor does one that its sender may not do."""
    await admin.push_image(IMAGE, "v1", b"layer")
    await admin.add_token("ci")
    reader = await admin.add_user("reader")
    await admin.grant("user:reader", "*", "pull")
    before = await admin.audit()
    for method, path, body in FAILURES:
        answer = await send(admin, method, path, body)
        assert 400 <= answer.status < 500, (method, path, answer.status)
        answer = await send(reader, method, path, body)
        assert answer.status in (403, 400) or "missing" in path, (method, path, answer.status)
        assert (await send(admin.showing(None), method, path, body)).status == 401
    assert await admin.audit() == before


async def test_a_tag_that_moves(admin: Administrator):
    """A push leaves an entry for each of its tags, and one more for each that stood for another manifest."""
    made = await another_image(admin)
    newest = (await admin.audit("n=1"))[0]["id"]
    put = admin.request(
        "PUT",
        f"/v2/{IMAGE}/manifests/{made['digest']}?tag=v1&tag=v3&tag=v2",
        made["manifest"],
        content_type=OCI_MANIFEST,
    )
    assert (await put).status == 201
    entries = [entry for entry in await admin.audit() if entry["id"] > newest]
    shown = {(e["action"], e.get("tag"), e["digest"], e["detail"].get("from")) for e in entries}
    assert len(entries) == 4
    assert shown == {
        *(("manifest.push", tag, made["digest"], None) for tag in ("v1", "v2", "v3")),
        ("tag.move", "v1", made["digest"], made["before"]),
    }
    assert (await admin.put_manifest(IMAGE, "v1", made["manifest"])).status == 201
    assert [entry["action"] for entry in await admin.audit("n=1")] == ["manifest.push"]  # it moved nothing


async def test_deleting_a_tag(admin: Administrator):
    """A tag that is deleted alone is an entry of its own kind."""
    await admin.push_image(IMAGE, "v1", b"layer")
    assert (await admin.request("DELETE", f"/v2/{IMAGE}/manifests/v1")).status == 202
    [entry] = await admin.audit("n=1")
    assert (entry["action"], entry["repo"], entry["image"], entry["tag"]) == (
        "tag.delete",
        "docker-internal",
        "team/app",
        "v1",
    )
    assert "digest" not in entry


async def test_with_which_credential(admin: Administrator):
    """An entry tells what was shown: a password, a token by its name, or what one of them gave."""
    user = await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "push")
    personal, machine = await admin.add_token("his", user="alice"), await admin.add_token("ci")
    await admin.grant("token:ci", "docker-internal", "push")
    scope = f"repository:{IMAGE}:pull,push"
    _, manifest = await admin.push_image(IMAGE, "v1", b"layer")
    shown = []
    for person in (user, await user.bearer(scope), personal, await personal.bearer(scope), machine):
        assert (await person.put_manifest(IMAGE, "v1", manifest)).status == 201
        [entry] = await admin.audit("n=1")
        shown.append((entry["actor"], entry["credential"]))
    assert shown[:4] == [("user:alice", "password")] * 2 + [("user:alice", "token his")] * 2
    assert shown[4][0] == "token:ci"
    assert shown[4][1].startswith("token")


async def test_before_there_is_an_account(client: Any, nobody: Person):
    """What nobody in particular did is somebody's too: anonymous, without a credential."""
    await nobody.push_image(IMAGE, "v1", b"layer")
    entries = (await nobody.get(f"{API}/audit")).json["entries"]
    assert [(e["action"], e["actor"], e["credential"]) for e in entries] == [("manifest.push", "anonymous", "none")]


async def test_logins_that_failed(admin: Administrator):
    """Each is an entry: as whom, with what, from where; never with what was shown."""
    await admin.add_user("alice")
    assert (await admin.user("alice", "a wrong secret").get("/v2/", x_request_id="r1")).status == 401
    assert (await admin.user("no\none", "a wrong secret").ask()).status == 401
    assert (await admin.user("x" * 300, "a wrong secret").ask()).status == 401
    assert (await admin.showing("Bearer aat_wrongsecret").get("/v2/")).status == 401
    assert (await admin.post(grant_type="refresh_token", refresh_token="aat_wrongsecret")).status == 401
    assert (await admin.post(grant_type="password", username="bob", password="a wrong secret")).status == 401
    entries = await admin.audit("action=login.failed")
    assert [(e["actor"], e["credential"]) for e in reversed(entries)] == [
        ("user:alice", "password"),
        ("user:no\none", "password"),
        ("user:" + "x" * 100 + "…", "password"),
        ("anonymous", "token"),
        ("anonymous", "token"),
        ("user:bob", "password"),
    ]
    assert entries[-1]["request_id"] == "r1"
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert "secret" not in json.dumps(entries)


async def test_filters(admin: Administrator):
    """Each filter has the entries that are equal there, and several have those of all; none has none."""
    for image, tag in ((IMAGE, "v1"), (IMAGE, "v2"), ("docker-internal/b", "v1"), ("other/b", "v1")):
        await admin.push_image(image, tag, tag.encode())
    await admin.add_user("alice")
    everything = await admin.audit()
    digest = everything[2]["digest"]
    for query, fits in {
        "actor=user:root": lambda e: e["actor"] == "user:root",
        "actor=anonymous": lambda e: e["actor"] == "anonymous",
        "action=manifest.push": lambda e: e["action"] == "manifest.push",
        "repo=docker-internal": lambda e: e.get("repo") == "docker-internal",
        "image=b": lambda e: e.get("image") == "b",
        "tag=v1": lambda e: e.get("tag") == "v1",
        f"digest={digest}": lambda e: e.get("digest") == digest,
        "repo=other&image=b&tag=v1": lambda e: e.get("repo") == "other",
        "actor=": lambda e: True,
        "actor=nobody": lambda e: False,
        "repo=%25": lambda e: False,
    }.items():
        assert await admin.audit(query) == [entry for entry in everything if fits(entry)], query
    assert len({str(await admin.audit(f"{name}=v1")) for name in ("tag", "image")}) == 2


async def test_times(admin: Administrator):
    """`since` has its moment, `until` has not; in any zone, and without one in UTC."""
    for name in ("a", "b", "c"):
        await admin.add_user(name)
    everything = await admin.audit()
    moment = everything[1]["at"]
    plain, there = moment.removesuffix("Z"), datetime.fromisoformat(moment).astimezone(timezone_of(5.5)).isoformat()
    for text in (moment, plain, there.replace("+", "%2B")):
        assert await admin.audit(f"since={text}") == everything[:2]
        assert await admin.audit(f"until={text}") == everything[2:]
        assert await admin.audit(f"since={text}&until={text}") == []


def timezone_of(hours: float) -> Any:
    """A zone."""
    from datetime import timezone

    return timezone(timedelta(hours=hours))


async def test_pages(admin: Administrator):
    """Newest first, page by page, each entry once, although others come meanwhile; filters go on with the pages."""
    for number in range(7):
        await admin.add_user(f"user{number}")
    everything = await admin.audit("action=user.create")
    found: list[Any] = []
    following = f"{API}/audit?n=3&action=user.create&actor=user:root&since=2020-01-01"
    sizes = []
    while following:
        answer: Answer = await admin.get(following)
        assert answer.status == 200
        sizes.append(len(answer.json["entries"]))
        found += answer.json["entries"]
        await admin.add_user(f"later{len(sizes)}")
        following = answer.headers.get("Link", "<>").partition("<")[2].partition(">")[0]
    assert found == [entry for entry in everything if entry["actor"] == "user:root"]
    assert sizes == [3, 3, 1]
    assert [entry["id"] for entry in found] == sorted((entry["id"] for entry in found), reverse=True)
    assert await admin.audit("n=0") == []
    assert len(await admin.audit("n=5000")) == len(everything) + len(sizes)


async def test_the_log(admin: Administrator, log_text: io.StringIO):
    """It has the same, a line an entry, whatever a name holds; of what failed it has nothing."""
    await admin.push_image(IMAGE, "v1", b"layer")
    await admin.user("x\n2026 INFO audit: forged\x1b[2J\u2028\x85", "wrong").get("/v2/")
    await admin.call("POST", "/users", name="root", password=PASSWORD)
    lines = [line for line in log_text.getvalue().splitlines() if "audit: " in line]
    assert [line.split("audit: ")[1].split()[0] for line in lines] == ["manifest.push", "login.failed"]
    assert "repo=docker-internal image=team/app tag=v1" in lines[0]
    assert "by user:root (password) from 127.0.0.1" in lines[0]
    assert lines[1].isprintable()
