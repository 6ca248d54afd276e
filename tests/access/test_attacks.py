"""What an attacker would try."""

from __future__ import annotations

import hmac
import os
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.access import passwords
from artifactapi.access.policy import Policy
from tests.access import forgery
from tests.access.hashing import Counted
from tests.access.people import API, FORM, PASSWORD, Administrator, Person, basic
from tests.client import Answer

IMAGE = "docker-internal/team/app"
SOON = 10.0
"""Seconds; another replica hears of a change within one or two."""


async def within_seconds(person: Person, path: str, status: int) -> None:
    """Wait until the person gets that status."""
    deadline = time.monotonic() + SOON
    while (answer := await person.get(path)).status != status:
        assert time.monotonic() < deadline, (answer.status, answer.body)
        await deferLater(reactor, 0.05)


def forged(dsn: str) -> dict[str, str]:
    """Tokens that would let user 1, or anybody, do everything, if they were believed."""
    kid, pem = forgery.signing_key(dsn)
    own, subject, now = forgery.own_key(), subject_of(dsn), int(time.time())
    good, header = forgery.claims(subject), {"alg": "EdDSA", "typ": "JWT", "kid": kid}
    public = [forgery.public_of(pem, encoding) for encoding in (Encoding.PEM, Encoding.DER, Encoding.Raw)]
    made = {f"changed {name}": forgery.signed(forgery.claims(subject, **claim), kid, pem) for name, claim in {
        "wrong audience": {"aud": "registry.example.org"},
        "no audience": {"aud": None},
        "wrong issuer": {"iss": "https://evil.example"},
        "no issuer": {"iss": None},
        "expired": {"iat": now - 1200, "nbf": now - 1200, "exp": now - 600},
        "no expiry": {"exp": None},
        "from the future": {"iat": now + 600, "nbf": now + 600, "exp": now + 1200},
        "not yet": {"nbf": now + 600},
        "issued later": {"iat": now + 600},
        "no subject": {"sub": None},
        "a subject of no kind": {"sub": "god:1"},
        "a subject without a number": {"sub": "user:x"},
        "a subject that is a number": {"sub": 1},
        "a user that is not there": {"sub": "user:999999999"},
        "a token that is not there": {"tok": 999999999},
        "a token that is text": {"tok": "1"},
        "an older password": {"gen": -1},
        "access that is no list": {"access": 5},
        "access without a type": {"access": [{}]},
        "access with an unknown right": {"access": [{"type": "repository", "name": "a/b", "actions": ["own"]}]},
    }.items()}  # fmt: skip
    for algorithm in ("none", "None", "NONE", "", "HS256", "ES256", "eddsa"):
        made[f"algorithm {algorithm!r} without a signature"] = forgery.raw({**header, "alg": algorithm}, good)
    for number, secret in enumerate([*public, kid.encode(), b""]):
        text = forgery.raw({**header, "alg": "HS256"}, good).rpartition(".")[0]
        mac = hmac.digest(secret, text.encode(), "sha256")
        made[f"HS256 with public key {number}"] = f"{text}.{forgery.encoded(mac)}"
    right = forgery.signed(good, kid, pem)
    text, _, signature = right.rpartition(".")
    return made | {
        "wrong key": forgery.signed(good, kid, own),
        "unknown key": forgery.signed(good, "0" * 32, own),
        "no key": forgery.signed(good, "", own),
        "a key that is no text": forgery.raw({**header, "kid": ["x"]}, good, bytes(64)),
        "a key of its own": forgery.signed(good, kid, own, jwk={"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        "a critical header": forgery.signed(good, kid, pem, crit=["exp"], b64=False),
        "no signature": f"{text}.",
        "half a signature": f"{text}.{signature[:40]}",
        "a changed payload": forgery.raw(header, {**good, "exp": now + 9999}, b"x" * 64),
        "another payload": f"{text.partition('.')[0]}.{forgery.encoded({**good, 'jti': '1'})}.{signature}",
        "a payload that is no object": forgery.raw(header, b"[]", bytes(64)),
        "a header that is no object": forgery.raw(b"[]", good, bytes(64)),
        "a deep header": forgery.raw(b"[" * 3000, good, bytes(64)),
        "a deep payload": forgery.raw(header, b'{"a":' * 1500, bytes(64)),
        "a header that is no UTF-8": forgery.raw(b"\xff\xfe", good, bytes(64)),
        "a long number": forgery.raw(b'{"kid":' + b"9" * 6000 + b"}", good, bytes(64)),
        "dots alone": "..",
        "dots and more": f"{right}.{signature}",
        "nothing": "",
    }


def subject_of(dsn: str) -> str:
    """The administrator, as tokens name him."""
    import psycopg2

    connection = psycopg2.connect(dsn)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM users WHERE name = 'root'")
        [number] = cursor.fetchone()
        return f"user:{number}"
    finally:
        connection.close()


async def test_forged_tokens(admin: Administrator, dsn: str):
    """A token that we have not signed, not for us, or not for now, is worth nothing, as Bearer or as a password."""
    assert (await admin.showing(f"Bearer {right_token(dsn)}").get(f"{API}/users")).status == 200
    wrong = []
    for name, token in forged(dsn).items():
        for header in (f"Bearer {token}", basic("root", token)):
            for path in (f"{API}/users", "/v2/", "/token"):
                answer = await admin.showing(header).get(path)
                if answer.status != 401 or "WWW-Authenticate" not in answer.headers:
                    wrong.append((name, header[:6], path, answer.status, answer.body))
    assert wrong == []


def right_token(dsn: str) -> str:
    """The token that the forged ones are made of, which is good: else they would be refused for another reason."""
    return forgery.signed(forgery.claims(subject_of(dsn)), *forgery.signing_key(dsn))


async def test_the_token_of_another_repo(admin: Administrator):
    """A token for one image is not one for another, whatever its name."""
    for name in (IMAGE, "docker-internal/team/app2", "other/team/app"):
        await admin.push_image(name, "v1", b"layer")
    bearer = await admin.bearer(f"repository:{IMAGE}:pull")
    assert (await bearer.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
    for name in ("docker-internal/team/app2", "other/team/app", "docker-internal/team"):
        answer = await bearer.get(f"/v2/{name}/manifests/v1")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


async def refresh_token(person: Person) -> str:
    """What a client that logs in may come back with."""
    answer = await person.ask(offline_token="true")
    return str(answer.json["refresh_token"])


def back(person: Person, secret: str) -> Any:
    """A client that comes back."""
    return person.post(grant_type="refresh_token", refresh_token=secret, service="x", client_id="y")


@pytest.mark.parametrize("end", ["delete the token", "change the password", "disable the user", "delete the user"])
async def test_a_refresh_token_after_its_end(admin: Administrator, nobody: Person, elsewhere: Person, end: str):
    """It is worth nothing any more, here at once and elsewhere within seconds, and so are the tokens it gave."""
    await admin.push_image(IMAGE, "v1", b"layer")
    user = await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "pull")
    secret = await refresh_token(user)
    gave = (await back(nobody, secret)).json
    assert gave["refresh_token"] == secret
    bearer = nobody.showing(f"Bearer {(await nobody.post(**form(secret))).json['token']}")
    there = elsewhere.showing(bearer.header)
    for person in (bearer, there):
        assert (await person.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
    if end == "delete the token":
        [token] = (await admin.get(f"{API}/tokens?user=alice")).json["tokens"]
        assert (await admin.request("DELETE", f"{API}/tokens/{token['id']}")).status == 204
    elif end == "change the password":
        assert (await admin.call("PATCH", "/users/alice", password="another one")).status == 200
    elif end == "disable the user":
        assert (await admin.call("PATCH", "/users/alice", disabled=True)).status == 200
        assert (await admin.call("PATCH", "/users/alice", disabled=False)).status == 200
    else:
        assert (await admin.request("DELETE", f"{API}/users/alice")).status == 204
        await admin.add_user("alice")
        await admin.grant("user:alice", "docker-internal", "pull")
    assert (await bearer.get(f"/v2/{IMAGE}/manifests/v1")).status == 401
    for person in (nobody, elsewhere):
        assert (await back(person, secret)).status == 401
        assert (await person.user("alice", secret).get("/v2/")).status == 401
    await within_seconds(there, f"/v2/{IMAGE}/manifests/v1", 401)


def form(secret: str) -> dict[str, str]:
    """The form of a client that comes back for a scope."""
    return {"grant_type": "refresh_token", "refresh_token": secret, "scope": f"repository:{IMAGE}:pull"}


async def test_a_login_beside_a_change_of_password(
    admin: Administrator, elsewhere: Person, monkeypatch: pytest.MonkeyPatch
):
    """A replica that has not heard of the new password yet gives nothing that outlives that moment."""
    user = await admin.add_user("alice")
    there = elsewhere.showing(user.header)
    assert (await there.get("/v2/")).status == 200

    async def deaf(policy: Policy) -> None:
        """Hear of nothing."""

    monkeypatch.setattr(Policy, "_look", deaf)
    assert (await admin.call("PATCH", "/users/alice", password="another one")).status == 200
    answer = await there.ask(offline_token="true")
    assert answer.status == 401
    assert (await admin.get(f"{API}/tokens?user=alice")).json == {"tokens": []}


@pytest.mark.parametrize("owner", [None, "alice"], ids=["machine", "user"])
async def test_a_token_revoked_elsewhere(admin: Administrator, elsewhere: Person, owner: str | None):
    """A token that one replica revokes is worth nothing at the other one within seconds, nor what it gave."""
    await admin.push_image(IMAGE, "v1", b"layer")
    await admin.add_user("alice")
    token = await admin.add_token("ci", **({"user": owner} if owner else {}))
    await admin.grant(f"user:{owner}" if owner else "token:ci", "docker-internal", "pull")
    there = elsewhere.showing(token.header)
    await within_seconds(there, f"/v2/{IMAGE}/manifests/v1", 200)
    bearer = await there.bearer(f"repository:{IMAGE}:pull")
    secret = await refresh_token(there)
    assert (await bearer.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
    assert (await admin.request("DELETE", f"{API}/tokens/{token.number}")).status == 204
    for person in (there, bearer):
        await within_seconds(person, f"/v2/{IMAGE}/manifests/v1", 401)
    assert (await back(elsewhere, secret)).status == 401


async def test_a_revoked_key(admin: Administrator, elsewhere: Person):
    """When another key has taken over, what the old one signed is good; when that is revoked, it is not."""
    bearer = await admin.bearer("registry:catalog:*")
    there = elsewhere.showing(bearer.header)
    assert (await admin.request("POST", f"{API}/keys")).status == 201
    for person in (bearer, there):
        assert (await person.get("/v2/_catalog")).status == 200
    assert (await admin.request("POST", f"{API}/keys?revoke=true")).status == 201
    assert (await bearer.get("/v2/_catalog")).status == 401
    await within_seconds(there, "/v2/_catalog", 401)
    again = elsewhere.showing((await admin.bearer("registry:catalog:*")).header)
    await within_seconds(again, "/v2/_catalog", 200)


ODD_SCOPES = [
    "",
    ":",
    ":::",
    "repository",
    "repository:",
    "repository::pull",
    f"repository:{IMAGE}",
    f"repository:{IMAGE}:",
    f"repository:{IMAGE}:,,",
    f"repository:{IMAGE}:admin",
    f"repository:{IMAGE}:PULL",
    f"repository:{IMAGE}:pull:x",
    f"repository:{IMAGE}::pull:",
    f"repository::{IMAGE}:pull",
    f"REPOSITORY:{IMAGE}:pull",
    f"repository(:{IMAGE}:pull",
    f"repository(x)y:{IMAGE}:pull",
    f"image:{IMAGE}:pull",
    f"repository:host:5000/{IMAGE}:pull",
    f"repository:{IMAGE}/:pull",
    f"repository:/{IMAGE}:pull",
    f"repository:{IMAGE}\0:pull",
    f"repository:{IMAGE}\n:pull",
    f"repository:{IMAGE}\u00e9:pull",
    f"repository:{IMAGE}:p\u00fcll",
    "repository:docker-internal:pull",
    "repository:docker-internal/../other/x:pull",
    "repository:*:*",
    "repository:*/*:pull",
    "repository:docker-internal/*:pull",
    "repository:docker-internal/team/?pp:pull",
    "repository:docker-internal/%74eam/app:pull",
    "repository:'; DROP TABLE users; --:pull",
    "repository:" + "a/" * 4000 + "b:pull",
    "\U0001f600:\U0001f600:\U0001f600",
    "admin:*:*",
    "registry:*:*",
    "registry:catalog",
]


def access_of(answer: Answer) -> list[dict[str, Any]]:
    """What a bearer token says it is for."""
    import jwt

    said = jwt.decode(answer.json["token"], options={"verify_signature": False})
    return list(said["access"])


async def test_odd_scopes(admin: Administrator):
    """What is no scope of ours gives nothing, and no error."""
    await admin.push_image(IMAGE, "v1", b"layer")
    given = {scope: (answer.status, access_of(answer)) for scope in ODD_SCOPES if (answer := await admin.ask(scope))}
    assert given == {scope: (200, []) for scope in ODD_SCOPES}


async def test_scopes_that_are_fine(admin: Administrator):
    """A token is for what was asked, as far as its owner may, in all the ways that clients have to ask."""
    user = await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "push", images="team/*")

    def entry(name: str, *actions: str) -> dict[str, Any]:
        return {"type": "repository", "name": name, "actions": list(actions)}

    for scopes, access in {
        (f"repository:{IMAGE}:pull,,push,bananas,delete",): [entry(IMAGE, "pull", "push")],
        (f"repository:{IMAGE}:*",): [entry(IMAGE, "pull", "push")],
        (f"repository(plugin):{IMAGE}:pull",): [entry(IMAGE, "pull")],
        (f"repository:{IMAGE}:pull repository:docker-internal/team/b:push  registry:catalog:*",): [
            entry(IMAGE, "pull"),
            entry("docker-internal/team/b", "push"),
            {"type": "registry", "name": "catalog", "actions": ["*"]},
        ],
        (f"repository:{IMAGE}:pull", "repository:other/x:pull"): [entry(IMAGE, "pull")],
    }.items():
        assert access_of(await user.ask(*scopes)) == access


async def test_thousands_of_scopes(admin: Administrator):
    """Only so many are looked at, and the token can be used."""
    await admin.push_image(IMAGE, "v1", b"layer")
    scope = f"repository:{IMAGE}:pull"
    asked = f"grant_type=password&username=root&password={PASSWORD}".replace(" ", "+") + f"&scope={scope}" * 1300
    answer = await admin.showing(None).request("POST", "/token", asked.encode(), content_type=FORM)
    assert (answer.status, len(access_of(answer)) <= 100) == (200, True)
    bearer = admin.showing(f"Bearer {answer.json['token']}")
    assert (await bearer.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
    many = "+".join([scope] * 300)
    answer = await admin.get(f"/token?scope={many}")
    assert (answer.status, len(access_of(answer)) <= 100) == (200, True)


MALFORMED = [
    b"Basic",
    b"Basic ",
    b"Basic !!!!",
    b"Basic cm9vdA==",  # no colon
    b"Basic //79",  # no UTF-8
    b"Basic cm9vdA",  # no padding
    b"Basic OnBhc3N3b3Jk",  # no name
    b"Basic cm9vdAA6cGFzc3dvcmQ=",  # root, NUL
    b"Basic AAAAOgAAAA==",  # NULs
    b"Basic cm9vdDoAAAA=",  # NULs for a password
    b"Basic \xff\xfe",
    b"basic cm9vdDp3cm9uZw==",
    b"Bearer",
    b"Bearer ",
    b"Bearer aat_",
    b"Bearer aat_" + b"x" * 8000,
    b"Bearer aat_\xff\xfe",
    b"Bearer \xff\xfe.\xff.\xff",
    b"Bearer " + b"." * 16_000,
    b"Digest username=root",
    b"Negotiate x",
    b"\xff\xfe",
    b"",
    b" ",
]


@pytest.mark.parametrize("path", ["/v2/", "/token", f"{API}/users"])
async def test_malformed_credentials(admin: Administrator, path: str):
    """What cannot be understood is 401 in the spec's form, and the connection goes on."""
    wrong = []
    for header in MALFORMED:
        request = b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % (path.encode(), header)
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await deferToThread(admin.raw, request + last)
        ok = answer.startswith(b"HTTP/1.1 401") and b'"UNAUTHORIZED"' in answer and answer.count(b"HTTP/1.1 200") == 1
        if not ok:
            wrong.append((header[:40], answer[:300]))
    assert wrong == []


@pytest.mark.parametrize("header", [b"Authorization: Basic ", b"Authorization: Bearer ", b"X-Forwarded-For: "])
async def test_headers_of_64_kib(admin: Administrator, header: bytes):
    """They are refused before anybody looks into them."""
    data = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + header + b"A" * 65_536 + b"\r\n\r\n"
    answer = await deferToThread(admin.raw, data)
    assert answer.startswith(b"HTTP/1.1 431")
    assert (await admin.get("/v2/")).status == 200


TRICKS: list[Any] = [
    "'; DROP TABLE users; --",
    "x' OR '1'='1",
    "a\0b",
    "\ud800",
    "\u202egnp.exe",
    "al\u0456ce",
    "alice\n",
    " alice",
    "",
    "../../../etc/passwd",
    "..",
    "a/../b",
    "%2e%2e%2f",
    "%s",
    "%(name)s",
    "{actor}",
    "x" * 100_000,
    -1,
    0,
    1.5,
    True,
    10**30,
    float("inf"),
    float("nan"),
    [],
    [[]],
    {},
    {"repo": "*"},
    [{"repo": "*", "images": "*", "rights": ["pull"], "more": 1}],
    [{"repo": [], "images": {}, "rights": [[]]}],
    ["pull"] * 1000,
    ["pull", None],
    ["a\0b"],
]
GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/users"): {"name": "new", "password": PASSWORD, "groups": ["g"], "admin": False},
    ("PATCH", "/users/alice"): {"password": PASSWORD, "groups": ["g"], "disabled": False},
    ("POST", "/tokens"): {"name": "new", "user": "alice", "expires_in": 60, "scope": [
        {"repo": "*", "images": "*", "rights": ["pull"]}]},
    ("POST", "/grants"): {"to": "user:alice", "repo": "docker-internal", "images": "x", "rights": ["pull"]},
    ("POST", "/repos"): {"name": "new", "package_type": "docker", "repo_type": "local", "settings": {}},
    ("PATCH", "/repos/other"): {"settings": {}},
    ("POST", "/issuers"): {"name": "new", "url": "https://ci.example", "audience": "us"},
    ("POST", "/identities"): {"name": "new", "issuer": "ci", "claims": {"sub": "x"}},
}  # fmt: skip


def is_fine(field: str, value: Any) -> bool:
    """Whether one of the tricks is, of all things, a right value of that field."""
    if field == "audience":
        return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 1000
    if field == "password":
        return isinstance(value, str) and 8 <= len(value) <= 512 and "\ud800" not in value
    return (
        (field in ("images", "settings") and value in ("../../../etc/passwd", "..", "a/../b", {}))
        or (field == "groups" and value == [])
        or (field in ("admin", "disabled") and value is True)
    )


async def test_tricks_in_every_field(admin: Administrator):
    """Each is refused, its field named; nothing is made of it, and nothing breaks."""
    await admin.add_user("alice")
    await admin.make("/issuers", name="ci", url="https://ci.example/other", audience="us")
    wrong, before = [], await state_of(admin)
    for (method, path), good in GOOD.items():
        for field in good:
            for value in TRICKS:
                if is_fine(field, value):
                    continue
                answer = await admin.call(method, path, **{**good, field: value})
                fields = [error.get("detail", {}).get("field", "").partition(".")[0] for error in answer.json["errors"]]
                if answer.status != 400 or fields != [field]:
                    wrong.append((method, path, field, repr(value)[:50], answer.status, answer.body[:200]))
    assert wrong == []
    assert await state_of(admin) == before


async def state_of(admin: Administrator) -> list[Any]:
    """All that the management API shows of accounts."""
    paths = ("users", "tokens", "grants", "repos", "issuers", "identities")
    return [(await admin.get(f"{API}/{path}")).json for path in paths]


@pytest.mark.parametrize("method, path", [*GOOD, ("POST", "/keys")])
async def test_bodies_that_are_no_objects(admin: Administrator, method: str, path: str):
    """Deep, long, cut, binary and empty bodies are refused."""
    for body in (b"[" * 100_000, b'{"name":' * 50_000, b"9" * 100_000, b"{", b"\xff", b"", b"null", b'"x"', b"[]"):
        answer = await admin.request(method, f"{API}{path}", body)
        assert answer.status == (201 if path == "/keys" else 400), (body[:20], answer.body)
    assert (await admin.request(method, f"{API}{path}", b" " * 1_048_577)).status in (201, 413)


QUERIES = [
    "users?last={}",
    "tokens?user={}",
    "tokens?last={}",
    "grants?repo={}",
    "grants?to={}",
    "grants?last={}",
    *(f"audit?{name}={{}}" for name in ("actor", "action", "repo", "image", "tag", "digest", "since", "until", "last")),
    "users/{}",
    "tokens/{}",
    "grants/{}",
    "repos/{}",
    "repos?last={}",
]


async def test_tricks_in_queries_and_paths(admin: Administrator):
    """They find nothing, or are refused, and nothing breaks."""
    from urllib.parse import quote

    texts = [value.encode("utf-8", "surrogatepass") for value in TRICKS if isinstance(value, str) and len(value) < 99]
    texts += [b"\xff\xfe", b"9" * 19, b"9" * 400, b"-1", b"1e3", "\u00b2".encode()]
    texts += [b"2026-01-01T00:00:00+23:59", b"2026-01-01T00:00:00+00:00:00.000001", b"0001-01-01T00:00:00+23:00"]
    texts += [b"9999-12-31T23:59:59-23:00", b"2026-02-30", b"infinity", b"now", b"2026-W01-1"]
    wrong = []
    for query in QUERIES:
        for text in texts:
            answer = await admin.get(f"{API}/{query.format(quote(text, safe=''))}")
            if answer.status not in (200, 400, 404):
                wrong.append((query, text, answer.status, answer.body[:200]))
    assert wrong == []


async def test_who_is_not_there(admin: Administrator, monkeypatch: pytest.MonkeyPatch):
    """An unknown user, a disabled one, one without a password and a wrong password are the same: the answer, and the
    work it costs."""
    await admin.add_user("alice")
    await admin.add_user("bob")
    await admin.call("PATCH", "/users/bob", disabled=True)
    await admin.make("/users", name="carol")
    counted = Counted(passwords.hasher)
    monkeypatch.setattr(passwords, "hasher", counted)
    assert (await admin.user("dave", "the first makes the hash of nobody").get("/v2/")).status == 401
    seen = []
    for name in ("alice", "bob", "carol", "nobody", "al\0ice", "", "\u00e9", "x" * 5000):
        counted.work.clear()
        answers = [
            await admin.user(name, f"wrong {name[:9]}").get("/v2/"),
            await admin.showing(None).post(grant_type="password", username=name, password="wrong"),
            await admin.user(name, "wrong too").ask(),
        ]
        assert [answer.status for answer in answers] == [401] * 3, name
        heads = [{**answer.headers, "Date": "", "X-Request-Id": ""} for answer in answers]
        seen.append(repr([(head, answer.body, counted.work) for head, answer in zip(heads, answers, strict=True)]))
        assert [kind for kind, _ in counted.work] == ["verify"] * 3
    assert set(seen) == {seen[0]}
    counted.work.clear()
    assert (await admin.user("alice").get("/v2/")).status == 200
    assert len(counted.work) == 1
    assert repr(counted.work[0]) in seen[0]  # a right password is the same work as well


async def test_a_deleted_blob(admin: Administrator, elsewhere: Person):
    """It is not read through anything any more: its image, another replica, a range, a mount."""
    content = os.urandom(200_000)
    digest = await admin.push_blob(IMAGE, content)
    path, there = f"/v2/{IMAGE}/blobs/{digest}", elsewhere.showing(admin.header)
    bearer = await admin.bearer(f"repository:{IMAGE}:pull", "repository:other/x:pull,push")
    for person in (admin, there, bearer):
        assert (await person.get(path)).body == content
    assert (await admin.request("DELETE", path)).status == 202
    for person in (admin, there, bearer):
        assert (await person.get(path)).code == "BLOB_UNKNOWN"
        assert (await person.get(path, range="bytes=0-9")).status == 404
        assert (await person.get(path, if_none_match=f'"{digest}"')).status == 404
        assert (await person.request("HEAD", path)).status == 404
        for source in ("", f"&from={IMAGE}"):
            answer = await person.request("POST", f"/v2/other/x/blobs/uploads/?mount={digest}{source}")
            assert answer.status == 202
    assert (await admin.get(f"/v2/other/x/blobs/{digest}")).status == 404


async def test_mounts(admin: Administrator):
    """A blob is mounted only from where its reader may read it: else it is as if it were not there. Whoever may, and
    has a bearer token that is not for it, is told to ask for another one."""
    secret, shared = await admin.push_blob("other/secret", b"secret"), await admin.push_blob("other/shared", b"shared")
    user = await admin.add_user("alice")
    await admin.grant("user:alice", "docker-internal", "push")
    await admin.grant("user:alice", "other", "pull", images="shared")
    token = await admin.add_token("his", user="alice", scope=[
        {"repo": "docker-internal", "images": "*", "rights": ["push"]}])  # fmt: skip
    narrow = await user.bearer("repository:docker-internal/x:push")
    wide = await user.bearer("repository:docker-internal/x:push", "repository:other/shared:pull")
    asked = f"/v2/docker-internal/x/blobs/uploads/?mount={secret}"
    sources = ("", "&from=other/secret", "&from=other/shared", "&from=docker-internal/x", "&from=%00", "&from=*/*")
    lacking = {"narrow": sources[2:4], "wide": sources[3:4]}  # a token to push does not pull
    for kind, person in (("user", user), ("token", token), ("narrow", narrow), ("wide", wide)):
        for source in sources:
            answer = await person.request("POST", asked + source)
            if source in lacking.get(kind, ()):
                assert answer.status == 401, source
                continue
            assert answer.status == 202, source
            assert answer.headers["Location"].startswith("/v2/docker-internal/x/blobs/uploads/")
    assert (await admin.get(f"/v2/docker-internal/x/blobs/{secret}")).status == 404
    asked = f"/v2/docker-internal/x/blobs/uploads/?mount={shared}"
    for person, source in ((token, ""), (token, "&from=other/shared"), (narrow, "")):
        assert (await person.request("POST", asked + source)).status == 202
    refused = await narrow.request("POST", asked + "&from=other/shared")
    assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
    assert "repository:other/shared:pull" in refused.headers["WWW-Authenticate"]
    for person in (wide, user):
        for source in ("&from=other/shared", ""):
            assert (await person.request("POST", asked + source)).status == 201
    assert (await narrow.request("POST", asked)).status == 202  # he may not pull what he has pushed, with this token


async def pages(person: Person, path: str, field: str) -> list[Any]:
    """All entries of a list, one a page, as its links lead through it."""
    found, following = [], f"{path}?n=1"
    while following:
        answer = await person.get(following)
        assert answer.status == 200, answer.body
        assert len(answer.json[field]) == 1
        found += answer.json[field]
        following = answer.headers.get("Link", "<>").partition("<")[2].partition(">")[0]
    return found


async def test_lists_show_what_may_be_seen(admin: Administrator, nobody: Person):
    """The catalogue has the images that its reader may pull, page by page, and no page tells of another."""
    images = ["docker-internal/a", "docker-internal/team/b", "docker-internal/team/c", "other/a", "other/z"]
    for image in images:
        await admin.push_image(image, "v1", b"layer")
    user = await admin.add_user("alice")
    assert (await user.get("/v2/_catalog")).json == {"repositories": []}
    assert (await nobody.get("/v2/_catalog")).status == 401
    await admin.grant("user:alice", "docker-internal", "pull", images="team/*")
    await admin.grant("user:alice", "other", "delete", images="?")
    wide = [{"repo": "*", "images": "*", "rights": ["push"]}]
    narrow = [{"repo": "*", "images": "a", "rights": ["pull"]}, {"repo": "other", "images": "*", "rights": ["pull"]}]
    tokens = [await admin.add_token(f"t{n}", user="alice", scope=scope) for n, scope in enumerate((wide, narrow))]
    for person, visible in {
        admin: images,
        user: images[1:],
        tokens[0]: images[1:],
        tokens[1]: images[3:],
        await user.bearer("registry:catalog:*"): images[1:],
        await tokens[1].bearer("registry:catalog:*"): images[3:],
    }.items():
        assert (await person.get("/v2/_catalog")).json == {"repositories": visible}
        assert await pages(person, "/v2/_catalog", "repositories") == visible
        assert (await person.get("/v2/_catalog?last=docker-internal/team/c")).json["repositories"] == images[3:]
    await admin.publish("docker-internal")
    assert await pages(nobody, "/v2/_catalog", "repositories") == images[:3]
    assert await pages(user, "/v2/_catalog", "repositories") == images
    assert await pages(tokens[1], "/v2/_catalog", "repositories") == [images[0], *images[3:]]


async def test_tags_and_referrers_of_what_may_not_be_seen(admin: Administrator):
    """A list of an image's own is as the image: not there, whatever the page."""
    digest, manifest = await admin.push_image(IMAGE, "v1", b"layer")
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": len(manifest)}
    await admin.push_image(IMAGE, None, b"layer", subject=subject, artifactType="application/x")
    user = await admin.add_user("alice")
    paths = [f"/v2/{IMAGE}/tags/list", f"/v2/{IMAGE}/referrers/{digest}"]
    for path in paths:
        assert len((await admin.get(path)).body) > 40
        for query in ("", "?n=1", "?last=a", "?n=0"):
            assert (await user.get(path + query)).code == "NAME_UNKNOWN"


async def test_a_page_of_another_site(client, service):
    """What a browser sends for a page from elsewhere changes nothing, although it reaches a daemon without accounts."""
    fields = b'{"name": "mallory", "password": "long enough", "admin": true}'
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{client.port + 1}"):
        answer = await client.request("POST", "/api/v1/users", fields, Origin=origin)
        assert (answer.status, answer.code) == (403, "DENIED"), origin
    own = f"http://127.0.0.1:{client.port}"
    assert (await client.request("POST", "/api/v1/users", fields, Origin=own)).status == 201


async def test_a_name_that_was_made_to_lead_here(client, service):
    """A page whose own name leads to this machine (DNS rebinding) is of the same site, and yet sees and changes nothing
    of a daemon without accounts."""
    pushed, _ = await client.push_image(IMAGE, "v1", b"layer")
    fields = b'{"name": "mallory", "password": "long enough", "admin": true}'
    host = f"evil.example:{client.port}"
    sent = {"Host": host, "Origin": f"http://{host}"}
    for method, path, body in (
        ("POST", f"{API}/users", fields),
        ("GET", f"{API}/repos", None),
        ("GET", "/v2/_catalog", None),
        ("GET", f"/v2/{IMAGE}/manifests/v1", None),
        ("DELETE", f"/v2/{IMAGE}/manifests/{pushed}", None),
    ):
        answer = await client.request(method, path, body, **sent)
        assert (answer.status, answer.code) == (403, "DENIED"), path
    token = (await client.request("GET", "/token", **sent)).json["token"]
    answer = await client.request("GET", "/v2/_catalog", Authorization=f"Bearer {token}", **sent)
    assert answer.status == 403
    for probe in ("/healthz", "/readyz", "/metrics"):
        assert (await client.request("GET", probe, **sent)).status == 200
    for own in ("localhost", f"[::1]:{client.port}", "192.0.2.1", "registry:8000", "a.localhost"):
        assert (await client.request("GET", f"/v2/{IMAGE}/manifests/v1", Host=own)).status == 200, own
