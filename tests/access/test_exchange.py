"""The exchange of issuers' tokens: whom it lets in, and whom not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater

from artifactapi.access.access import Access
from artifactapi.access.attempts import Attempts
from artifactapi.access.discovery import Discovery
from artifactapi.access.exchange import MOST, Exchange, choose, read, verified
from artifactapi.access.jwk import Key
from artifactapi.access.jwks import PAUSE, Jwks
from artifactapi.access.login import CredentialInvalid, Origin
from artifactapi.access.rights import EVERYTHING
from artifactapi.metadata import audit
from artifactapi.metadata.audit import SYSTEM, Entry, Filter
from artifactapi.metadata.issuers import Identity, Issuer
from artifactapi.oci.errors import TooManyRequests, Unavailable
from artifactapi.upstream.connections import Connections
from tests.access.issuer import AUDIENCE, CONFIGURATION, KEYS, OidcIssuer, administrator, part, private_key, running
from tests.client import Answer, Client

ORIGIN = Origin("192.0.2.7", "request-1")
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
GITHUB = {"repository": "octo-org/*", "ref": "refs/heads/main"}


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    """An issuer with the key RS256-1."""
    with running() as made:
        yield made


@pytest_twisted.async_yield_fixture
async def access(database, threads, issuer):
    """Access control with an administrator, which trusts the issuer under the name `ci`."""
    made = Access.over(database, threads, (EVERYTHING,), 20, 900, Connections(reactor))
    await administrator(database)
    await made.start()
    await made.issuers.create({"name": "ci", "url": issuer.url, "audience": AUDIENCE}, SYSTEM)
    yield made
    await made.policy.stop()


async def identity(access: Access, name: str = "build", **claims: str) -> None:
    """Let there be an identity of the issuer."""
    await access.identities.create({"name": name, "issuer": "ci", "claims": claims or GITHUB}, SYSTEM)


async def actor(access: Access, token: str, name: str | None = None) -> str:
    """Whom the ticket for the token stands for, as a Bearer token."""
    ticket = await access.exchange.exchange(token, name, ORIGIN)
    assert ticket.seconds == 3600
    assert ticket.refresh is None
    return (await access.login.identify(f"Bearer {ticket.token}".encode(), ORIGIN)).actor


async def refusal(access: Access, token: str, name: str | None = None) -> str:
    """Why the token is refused."""
    with pytest.raises(CredentialInvalid) as caught:
        await access.exchange.exchange(token, name, ORIGIN)
    return caught.value.message


async def entries(access: Access, database: Any, action: str) -> list[Entry]:
    """The audit of that."""
    return await audit.listing(database, Filter(action=action), None, 100)


SHAPES: list[tuple[str, dict[str, str]]] = [
    ("github", {"sub": "repo:octo-org/octo-repo:ref:refs/heads/*"}),
    ("github", {"repository": "octo-org/octo-repo", "ref_protected": "true", "run_attempt": "?"}),
    ("gitlab", {"project_path": "team/*", "ref_type": "branch", "ref": "main"}),
    ("gitlab", {"groups_direct": "team/builders"}),
    ("kubernetes", {"sub": "system:serviceaccount:ci:*"}),
    ("kubernetes", {"kubernetes.io.namespace": "ci", "kubernetes.io.serviceaccount.name": "builder"}),
]


@pytest.mark.parametrize(
    "kind, claims", SHAPES, ids=lambda value: value if isinstance(value, str) else next(iter(value))
)
async def test_tokens_as_they_are(access: Access, issuer: OidcIssuer, kind: str, claims: dict[str, str]):
    """Tokens of GitHub, GitLab and Kubernetes become the identity whose claims they match, whatever signs them."""
    await identity(access, **claims)
    issuer.rotate("RS256-1", "ES256-1", "EdDSA-1", "PS384-1")
    for kid in ("RS256-1", "ES256-1", "EdDSA-1", "PS384-1"):
        assert await actor(access, issuer.token(kind, kid)) == "identity:build"
    assert await actor(access, issuer.token(kind, aud=["https://other.example.org", AUDIENCE])) == "identity:build"
    assert issuer.asked == [CONFIGURATION, KEYS]


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("the token is not for the audience 'https://registry.example.org'", {"aud": "https://other.example.org"}),
    ("the token is not for the audience 'https://registry.example.org'", {"aud": [AUDIENCE + "/"]}),
    ("the token's claims are malformed", {"exp": "soon"}),
    ("the token's claims are malformed", {"sub": 7}),
    ("the token's claims are malformed", {"jti": [1]}),
    ("the token does not claim exp", {"exp": None}),
    ("the token does not claim iat", {"iat": None}),
    ("the token does not claim aud", {"aud": None}),
    ("the token does not claim sub", {"sub": None}),
    ("the token has expired", {"exp": int(time.time()) - 100}),
    ("the token is not valid yet", {"nbf": int(time.time()) + 10_000}),
    ("the token is not valid yet", {"iat": int(time.time()) + 10_000}),
    ("no trusted issuer 'http://127.0.0.1:1'", {"iss": "http://127.0.0.1:1"}),
    ("the token does not say who issued it (iss)", {"iss": None}),
    ("the token does not say who issued it (iss)", {"iss": "\0"}),
    ("the token does not say who issued it (iss)", {"iss": "' OR 1=1 --"}),
    ("no identity of the issuer matches the token's claims", {"repository": "octo-organization/octo-repo"}),
    ("no identity of the issuer matches the token's claims", {"repository": "evil/octo-org/octo-repo"}),
    ("no identity of the issuer matches the token's claims", {"ref": "refs/heads/main\n"}),
    ("no identity of the issuer matches the token's claims", {"ref": None}),
    ("no identity of the issuer matches the token's claims", {"ref": {"refs/heads/main": "refs/heads/main"}}),
    ("no identity of the issuer matches the token's claims", {"ref": [["refs/heads/main"]]}),
]


@pytest.mark.parametrize("reason, claims", CLAIMS, ids=lambda value: str(value)[:50])
async def test_claims_that_are_not_good(access: Access, issuer: OidcIssuer, reason: str, claims: dict[str, Any]):
    """A token with the right signature and wrong claims is refused, and its holder is told why."""
    await identity(access)
    assert await refusal(access, raw(issuer.claims("github", **claims), issuer.kid)) == reason


def raw(claims: Any, kid: str, header: dict[str, Any] | None = None) -> str:
    """A token with any claims and any header, rightly signed with RS256."""
    signed = f"{part(header or {'alg': 'RS256', 'kid': kid})}.{part(claims)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(signed.encode(), private_key(kid))
    return f"{signed}.{part(signature)}"


def with_alg_none(issuer: OidcIssuer) -> str:
    return f"{part({'alg': 'none', 'kid': issuer.kid})}.{part(issuer.claims('github'))}."


def with_public_key_as_secret(issuer: OidcIssuer, algorithm: str = "HS256") -> str:
    public = private_key(issuer.kid).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': algorithm, 'kid': issuer.kid})}.{part(issuer.claims('github'))}"
    return f"{signed}.{part(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def tampered(issuer: OidcIssuer) -> str:
    head, _, signature = issuer.token("github", ref="refs/heads/other").split(".")
    return f"{head}.{part(issuer.claims('github'))}.{signature}"


SIGNED = "the token must be signed with one of: "
OTHER = "the token is not signed with the issuer's key"
FORGED: dict[str, tuple[str, Any]] = {
    "none": (SIGNED, with_alg_none),
    "hs256": (SIGNED, with_public_key_as_secret),
    "hs256 as rs256": (OTHER, lambda issuer: with_public_key_as_secret(issuer, "RS256")),
    "odd alg": (SIGNED, lambda issuer: raw({}, "RS256-1", {"alg": ["RS256"], "kid": "RS256-1"})),
    "lower case": (SIGNED, lambda issuer: raw({}, "RS256-1", {"alg": "rs256", "kid": "RS256-1"})),
    "no alg": (SIGNED, lambda issuer: raw({}, "RS256-1", {"kid": "RS256-1"})),
    "other key": (OTHER, lambda issuer: issuer.token("github", "RS256-2", {"kid": "RS256-1"})),
    "other kind of key": (OTHER, lambda issuer: issuer.token("github", "ES256-1", {"kid": "RS256-1"})),
    "tampered": (OTHER, tampered),
    "no signature": (OTHER, lambda issuer: issuer.token().rpartition(".")[0] + "."),
    "no kid": (
        "the token does not say which key",
        lambda issuer: raw(issuer.claims("github"), "RS256-1", {"alg": "RS256"}),
    ),
    "unknown kid": ("the issuer has no key of the token's kid", lambda issuer: issuer.token("github", "RS256-2")),
    "critical": ("the token is no JWT", lambda issuer: issuer.token(headers={"crit": ["x"], "x": 1})),
    "too long": (f"the token has more than {MOST} characters", lambda issuer: issuer.token(padding="x" * MOST)),
    "deep": ("the token is no JWT", lambda issuer: raw(b'{"a":' * 1500, "RS256-1")),
    "no object": ("the token is no JWT", lambda issuer: raw([1], "RS256-1")),
    "empty": ("the token is no JWT", lambda issuer: ""),
    "dots": ("the token is no JWT", lambda issuer: ".."),
    "unicode": ("the token is no JWT", lambda issuer: "\ud800.é.☃"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_forged_tokens(access: Access, database: Any, issuer: OidcIssuer, name: str):
    """What the issuer has not signed is refused, and no part of it is shown to anybody."""
    await identity(access)
    expected, make = FORGED[name]
    token = make(issuer)
    reason = await refusal(access, token)
    assert reason.startswith(expected)
    [entry] = await entries(access, database, "login.failed")
    assert entry.by.address == ORIGIN.address
    assert entry.event.detail["reason"] == reason
    assert all(text not in str(entry) for text in token.split(".") if len(text) > 9)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "ref", "repository"])


@settings(max_examples=200, deadline=None)
@given(ANY | st.dictionaries(FIELDS, ANY), st.dictionaries(st.sampled_from(["alg", "kid", "typ", "b64", "crit"]), ANY))
def test_any_token(claims: Any, header: dict[str, Any]):
    """Whatever a signed token says, it is believed, or refused with a reason."""
    row = Issuer(1, "ci", "https://example.org", AUDIENCE, None, datetime.now(UTC))
    good = {"iss": row.url, "aud": AUDIENCE, "sub": "x", "iat": 1, "exp": 1e10, "repository": "octo-org/x"}
    good["ref"] = "refs/heads/main"
    said = {**good, **claims} if isinstance(claims, dict) else claims
    token = raw(said, "RS256-1", {"alg": "RS256", "kid": "RS256-1", **header})
    try:
        read(token)
        believed = verified(token, row, Key(private_key("RS256-1").public_key(), ("RS256",)))
        choose([Identity(1, "build", "ci", GITHUB, row.created_at)], None, believed, {})
    except CredentialInvalid:
        return
    assert believed["aud"] == AUDIENCE
    assert believed["ref"] == "refs/heads/main"


async def test_keys_that_a_token_brings(access: Access, issuer: OidcIssuer):
    """A key, or where one would be, in the token's own header is not looked at."""
    await identity(access)
    with running() as other:
        own = {"jku": other.url + KEYS, "x5u": other.url, "jwk": other.documents[KEYS]["keys"][0], "kid": "RS256-1"}
        token = issuer.token("github", "RS256-2", own)
        assert await refusal(access, token) == OTHER
        assert other.asked == []


async def test_which_identity(access: Access, database: Any, issuer: OidcIssuer):
    """The one that is named, else the first by name that matches; what did not match is for the audit alone."""
    await identity(access, "b-main", repository="octo-org/*")
    await identity(access, "a-other", repository="octo-org/*", ref="refs/heads/other")
    await identity(access, "c-main", repository="octo-org/octo-repo")
    assert await actor(access, issuer.token()) == "identity:b-main"
    assert await actor(access, issuer.token(), "c-main") == "identity:c-main"
    absent = await refusal(access, issuer.token(), "absent\0")
    assert absent == "no identity 'absent�' of the issuer matches the token's claims"
    assert await refusal(access, issuer.token(), "a-other") == absent.replace("absent�", "a-other")
    last, first = await entries(access, database, "login.failed")
    assert last.event.detail["mismatches"] == {"a-other": ["ref"]}
    assert last.event.detail["sub"] == issuer.claims("github")["sub"]
    assert first.event.detail["mismatches"] == {}


async def test_the_audit_of_an_exchange(access: Access, database: Any, issuer: OidcIssuer):
    """It says who became which identity; what he does from then on says so as well."""
    await identity(access, repository="octo-org/*")
    ticket = await access.exchange.exchange(issuer.token(sub="repo:octo-org/x:\0\n" + "y" * 400), None, ORIGIN)
    [entry] = await entries(access, database, "login.exchange")
    sub = "repo:octo-org/x:��" + "y" * 282 + "…"
    assert entry.by.actor == "identity:build"
    assert entry.event.detail == {"identity": "build", "issuer": "ci", "sub": sub}
    caller = await access.login.identify(f"Bearer {ticket.token}".encode(), ORIGIN)
    assert caller.credential == entry.by.credential == f"ci {sub}"


async def test_failures_are_counted(access: Access, database: Any, issuer: OidcIssuer):
    """An address that has failed too often waits, whatever it brings then; others do not."""
    await identity(access)
    exchange = Exchange(database, access.tickets, Attempts(database, 1), Jwks(Discovery(Connections(reactor)).read))
    for _ in range(10):
        with pytest.raises(CredentialInvalid):
            await exchange.exchange("x", None, ORIGIN)
    with pytest.raises(TooManyRequests):
        await exchange.exchange(issuer.token(), None, ORIGIN)
    assert await exchange.exchange(issuer.token(), None, Origin("192.0.2.8", "request-2"))


async def test_an_issuer_that_is_down(access: Access, database: Any, issuer: OidcIssuer):
    """That is nobody's failure: 503, which does not count; with keys from before it goes on."""
    await identity(access)
    clock = Clock()
    jwks = Jwks(Discovery(Connections(reactor)).read, clock.seconds)
    exchange = Exchange(database, access.tickets, Attempts(database, 1), jwks)
    issuer.behave = issuer.redirect
    for _ in range(20):
        with pytest.raises(Unavailable):
            await exchange.exchange(issuer.token(), None, ORIGIN)
    assert issuer.asked == [CONFIGURATION]
    issuer.behave = None
    clock.advance(PAUSE)
    assert await exchange.exchange(issuer.token(), None, ORIGIN)
    issuer.stop()
    clock.advance(3600)
    assert await exchange.exchange(issuer.token(), None, ORIGIN)
    issuer.start()


async def test_a_flood_of_tokens(access: Access, issuer: OidcIssuer):
    """Tokens with random keys, and tokens of nobody we trust, make us ask the issuer once."""
    await identity(access)
    with running() as stranger:
        for number in range(30):
            await refusal(access, raw(issuer.claims("github"), "RS256-1", {"alg": "RS256", "kid": f"{number}"}))
            await refusal(access, stranger.token())
        assert stranger.asked == []
    assert issuer.asked == [CONFIGURATION, KEYS]


async def test_our_own_tokens(access: Access, issuer: OidcIssuer):
    """A ticket cannot be exchanged for another; and an issuer's token is no credential itself."""
    await identity(access)
    ticket = await access.exchange.exchange(issuer.token(), None, ORIGIN)
    assert (await refusal(access, ticket.token)).startswith("the token does not say who issued it")
    with pytest.raises(CredentialInvalid):
        await access.login.identify(f"Bearer {issuer.token()}".encode(), ORIGIN)


async def test_an_issuer_that_comes_again(access: Access, issuer: OidcIssuer):
    """An issuer that was deleted and made again with other keys is not believed for those of before."""
    await identity(access)
    assert await actor(access, issuer.token())
    await access.issuers.delete("ci", SYSTEM)
    given = {"name": "ci", "url": issuer.url, "audience": AUDIENCE, "jwks_url": f"{issuer.url}/none"}
    await access.issuers.create(given, SYSTEM)
    await identity(access)
    with pytest.raises(Unavailable):
        await access.exchange.exchange(issuer.token(), None, ORIGIN)


NAME = "docker-internal/team/app"


class Registry:
    """The daemon over HTTP, with an administrator, and an identity `build` that may push below team/."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.admin = ""

    async def prepare(self, issuer: OidcIssuer) -> None:
        """Let there be all that."""
        await self.post("users", name="admin", password="correct horse", admin=True)
        self.admin = basic("admin", "correct horse")
        await self.post("issuers", name="ci", url=issuer.url, audience=AUDIENCE)
        await self.post("identities", name="build", issuer="ci", claims=GITHUB)
        await self.post("grants", to="identity:build", repo="docker-internal", images="team/*", rights=["push"])

    async def post(self, what: str, **fields: Any) -> None:
        """Make one."""
        shown = {"authorization": self.admin} if self.admin else {}
        answer = await self.client.request("POST", f"/api/v1/{what}", json.dumps(fields).encode(), **shown)
        assert answer.status == 201, answer.body

    async def exchange(self, token: str, **more: str) -> Answer:
        """What a CI job sends."""
        form = urlencode({"grant_type": GRANT, "subject_token": token, **more}).encode()
        return await self.client.request("POST", "/token", form)

    async def wait_for(self, status: int, path: str, authorization: str) -> None:
        """Until that is its answer."""
        deadline = time.monotonic() + 10
        while (await self.client.get(path, authorization=authorization)).status != status:
            assert time.monotonic() < deadline
            await deferLater(reactor, 0.05)


@pytest_twisted.async_yield_fixture
async def registry(client: Client, issuer: OidcIssuer):
    """The daemon over HTTP."""
    made = Registry(client)
    await made.prepare(issuer)
    yield made


def basic(name: str, password: str) -> str:
    """The header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_a_push_without_a_stored_secret(registry: Registry, issuer: OidcIssuer, log_text: Any):
    """The ticket pushes and pulls as Bearer and as a password, also through the Docker token flow, where it may."""
    answer = await registry.exchange(issuer.token())
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    ticket = answer.json["access_token"]
    scope = f"/token?service=artifactapi&scope=repository:{NAME}:pull,push&offline_token=true"
    flow = await registry.client.get(scope, authorization=basic("ci", ticket))
    assert flow.status == 200
    assert "refresh_token" not in flow.json
    for shown in (f"Bearer {ticket}", basic("ci", ticket), f"Bearer {flow.json['token']}"):
        upload = f"/v2/{NAME}/blobs/uploads/?digest=sha256:{hashlib.sha256(shown.encode()).hexdigest()}"
        pushed = await registry.client.request("POST", upload, shown.encode(), authorization=shown)
        assert pushed.status == 201
        assert (await registry.client.get(pushed.headers["Location"], authorization=shown)).body == shown.encode()
    own = f"Bearer {ticket}"
    elsewhere = "/v2/docker-internal/other/blobs/uploads/"
    assert (await registry.client.request("POST", elsewhere, authorization=own)).status == 404
    assert (await registry.client.get("/api/v1/issuers", authorization=own)).status == 403
    me = await registry.client.get("/api/v1/me", authorization=own)
    assert me.json["actor"] == "identity:build"
    assert ticket.split(".")[2] not in log_text.getvalue()


@pytest.mark.parametrize("path", ["/api/v1/identities/build", "/api/v1/issuers/ci"])
async def test_what_is_deleted_lets_nobody_in(registry: Registry, issuer: OidcIssuer, path: str):
    """Without the identity, or its issuer, tickets are worth nothing within seconds, and there are no more."""
    ticket = (await registry.exchange(issuer.token())).json["token"]
    catalog = "/v2/_catalog"
    assert (await registry.client.get(catalog, authorization=f"Bearer {ticket}")).status == 200
    assert (await registry.client.request("DELETE", path, authorization=registry.admin)).status == 204
    await registry.wait_for(401, catalog, f"Bearer {ticket}")
    await registry.wait_for(401, catalog, basic("ci", ticket))
    assert (await registry.exchange(issuer.token())).status == 401


async def test_refusals_over_http(registry: Registry, issuer: OidcIssuer):
    """401 for what is not believed, 400 for a request without a token, 503 while the issuer's keys are not there."""
    wrong = await registry.exchange(issuer.token(aud="https://other.example.org"), identity="build")
    assert (wrong.status, wrong.code) == (401, "UNAUTHORIZED")
    assert wrong.headers["WWW-Authenticate"].startswith("Basic")
    missing = await registry.client.request("POST", "/token", urlencode({"grant_type": GRANT}).encode())
    assert (missing.status, missing.code) == (400, "BAD_REQUEST")
    with running() as down:
        await registry.post("issuers", name="down", url=down.url, audience=AUDIENCE)
        down.behave = down.redirect
        answer = await registry.exchange(down.token())
        assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
