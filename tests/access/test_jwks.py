"""The keys of issuers: how they are read, what of them is believed, and how often anybody is asked."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from artifactapi.access.discovery import Discovery
from artifactapi.access.fetch import FetchFailed
from artifactapi.access.jwk import parse_keys
from artifactapi.access.jwks import FRESH, PAUSE, STALE, Jwks
from artifactapi.access.urls import is_issuer_url, is_keys_url
from artifactapi.metadata.issuers import Issuer
from artifactapi.oci.errors import Unavailable
from artifactapi.upstream.connections import Connections
from tests.access.issuer import CONFIGURATION, KEYS, OidcIssuer, jwk, private_key, running
from tests.daemon import eventually
from tests.e2e.tls import make_certificate


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    """An issuer with the key RS256-1."""
    with running() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def jwks(clock: Clock) -> Jwks:
    """Nothing kept yet."""
    return Jwks(Discovery(Connections(reactor)).read, clock.seconds)


def row(issuer: OidcIssuer, jwks_url: str | None = None) -> Issuer:
    """The issuer's row."""
    return Issuer(1, "ci", issuer.url, "us", jwks_url, datetime.now(UTC))


async def failure(issuer: OidcIssuer, seconds: float = 10, jwks_url: str | None = None) -> str:
    """What is wrong with what it says."""
    with pytest.raises(FetchFailed) as caught:
        await Discovery(Connections(reactor), seconds).read(row(issuer, jwks_url))
    return str(caught.value)


async def test_discovery(issuer: OidcIssuer):
    """The keys are where the issuer's configuration says."""
    issuer.rotate("RS256-1", "ES384-1", "EdDSA-1")
    keys = await Discovery(Connections(reactor)).read(row(issuer))
    assert {kid: key.algorithms for kid, key in keys.items()} == {
        "RS256-1": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        "ES384-1": ("ES384",),
        "EdDSA-1": ("EdDSA",),
    }
    assert issuer.asked == [CONFIGURATION, KEYS]


async def test_a_given_address_of_the_keys(issuer: OidcIssuer):
    """With jwks_url, nothing else is asked."""
    assert await Discovery(Connections(reactor)).read(row(issuer, issuer.url + KEYS))
    assert issuer.asked == [KEYS]


async def test_a_url_with_a_slash_at_its_end(issuer: OidcIssuer):
    """Its configuration is below it, and names it with the slash."""
    issuer.documents[CONFIGURATION]["issuer"] = f"{issuer.url}/"
    given = Issuer(1, "ci", f"{issuer.url}/", "us", None, datetime.now(UTC))
    assert await Discovery(Connections(reactor)).read(given)


async def test_another_issuers_configuration(issuer: OidcIssuer):
    """A configuration that is not the issuer's own is not believed."""
    issuer.documents[CONFIGURATION]["issuer"] = "https://other.example.org"
    assert "of another issuer" in await failure(issuer)
    assert issuer.asked == [CONFIGURATION]


@pytest.mark.parametrize("uri", ["http://192.0.2.1/keys", "file:///etc/passwd", "https://u:p@x/keys", None, 7, ""])
async def test_odd_addresses_of_keys(issuer: OidcIssuer, uri: Any):
    """Nobody sends us anywhere but to HTTPS, or to the machine the issuer is on with us."""
    issuer.documents[CONFIGURATION]["jwks_uri"] = uri
    assert "no jwks_uri that may be used" in await failure(issuer)


async def test_redirects(issuer: OidcIssuer):
    """None is followed."""
    issuer.behave = issuer.redirect
    assert "answers 302" in await failure(issuer)
    assert issuer.asked == [CONFIGURATION]


async def test_an_answer_without_end(issuer: OidcIssuer):
    """After 128 KiB the connection is closed."""
    issuer.behave = issuer.flood
    assert "is of no use: large" in await failure(issuer)
    await deferToThread(eventually, issuer.cut.is_set, 10)


async def test_a_compressed_answer(issuer: OidcIssuer):
    """Compression is not asked for, and not taken: a few bytes may stand for gigabytes."""

    def bomb(request: Any) -> None:
        content = gzip.compress(gzip.compress(bytes(10_000_000)))
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip, gzip")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    issuer.behave = bomb
    assert "is of no use: encoding" in await failure(issuer, 30)
    assert issuer.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("way", ["hang", "drip"])
async def test_an_issuer_that_does_not_answer(issuer: OidcIssuer, way: str):
    """All of it has a time; then the connection is closed."""
    issuer.behave = getattr(issuer, way)
    assert await failure(issuer, 0.2) == "no answer within 0.2 s"
    await deferToThread(eventually, issuer.cut.is_set, 10)


async def test_an_issuer_that_is_down(issuer: OidcIssuer):
    """A connection that fails is said to have failed."""
    issuer.stop()
    assert "ConnectionRefusedError" in await failure(issuer)
    issuer.start()


SMALL = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
SECRET = RSAAlgorithm.to_jwk(private_key("RS256-1"), as_dict=True)
USELESS = [
    b"",
    b"{",
    b"\xff",
    b"[" * 100_000,
    b"<html>",
    [],
    {},
    {"keys": {}},
    {"keys": []},
    {"keys": [jwk("RS256-1")] * 101},
    {"keys": [{"kty": "oct", "kid": "1", "k": "c2VjcmV0"}]},
    {"keys": [{**SMALL, "kid": "1"}]},
    {"keys": [{**SECRET, "kid": "1"}]},
    {"keys": [jwk("RS256-1", use="enc")]},
    {"keys": [jwk("RS256-1", alg="HS256")]},
    {"keys": [jwk("RS256-1", kid=7)]},
    {"keys": [jwk("RS256-1", n="?")]},
    {"keys": [jwk("ES256-1", x="AAAA")]},
    {"keys": [jwk("ES256-1", crv="secp256k1")]},
    {"keys": [None, 7, "x", {"kid": "1"}, {"kty": [], "kid": "1"}]},
]


@pytest.mark.parametrize("document", USELESS, ids=lambda document: str(document)[:40])
async def test_documents_without_a_key(issuer: OidcIssuer, document: Any):
    """What has no key that proves anything is said to have none."""
    issuer.documents[KEYS] = document
    assert issuer.url + KEYS in await failure(issuer, jwks_url=issuer.url + KEYS)


def test_keys_of_use_among_others():
    """What is no use is left out, and the others are kept; a key's own word limits what it is for."""
    entries = [{"kty": "oct", "kid": "0", "k": "c2VjcmV0"}, jwk("RS256-1", alg="RS512"), None, jwk("ES512-1")]
    keys = parse_keys({"keys": entries})
    assert {kid: key.algorithms for kid, key in keys.items()} == {"RS256-1": ("RS512",), "ES512-1": ("ES512",)}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["RSA", "EC", "OKP", "P-256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "d", "oth"]), ANY)
ENTRIES = st.builds(
    lambda key, other: {**jwk(key), **other}, st.sampled_from(["RS256-1", "ES256-1", "EdDSA-1"]), MEMBERS
)


@settings(max_examples=60, deadline=None)
@given(ANY | st.fixed_dictionaries({"keys": st.lists(ENTRIES, max_size=3)}))
def test_any_document(document: Any):
    """Whatever a document is, it has keys, or is said to have none."""
    try:
        keys = parse_keys(document)
    except ValueError:
        return
    assert keys
    assert all(key.algorithms for key in keys.values())


@pytest.mark.parametrize(
    "url, good",
    [
        ("https://token.actions.githubusercontent.com", True),
        ("https://oidc.eks.eu-central-1.amazonaws.com/id/4A1B", True),
        ("https://10.0.0.1:6443", True),
        ("https://idp.example.org/", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080/x", True),
        ("http://localhost", True),
        ("http://gitlab.example.org", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1@example.org", False),
        ("https://user:password@example.org", False),
        ("https://example.org?x", False),
        ("https://example.org/?", False),
        ("https://example.org#x", False),
        ("https://example.org:port", False),
        ("https://exa mple.org", False),
        ("https://example.org\n", False),
        ("https://[example.org", False),
        ("https://\\example.org", False),
        ("https:///path", False),
        ("ftp://example.org", False),
        ("example.org", False),
        ("https://" + "a" * 1000, False),
        ("", False),
        (None, False),
    ],
)
def test_urls_of_issuers(url: Any, good: bool):
    """An issuer is behind HTTPS, or on this machine."""
    assert is_issuer_url(url) is good


def test_urls_of_keys():
    """An issuer elsewhere does not send us to this machine."""
    assert is_keys_url("https://cdn.example.org/keys?v=1", "https://example.org")
    assert is_keys_url("http://127.0.0.1:2/keys", "http://localhost:1")
    assert not is_keys_url("http://127.0.0.1:2/keys", "https://example.org")
    assert not is_keys_url("http://example.org/keys", "https://example.org")
    assert not is_keys_url("http://example.org/keys", "http://localhost:1")


async def test_tls(issuer: OidcIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A certificate that nobody vouches for is refused, and another host's; one that the machine trusts is taken."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    issuer._server.socket = context.wrap_socket(issuer._server.socket, server_side=True)
    url = issuer.url.replace("http:", "https:") + KEYS
    assert "certificate verify failed" in await failure(issuer, jwks_url=url)
    assert issuer.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert await Discovery(Connections(reactor)).read(row(issuer, url))
    assert "VerificationError" in await failure(issuer, jwks_url=url.replace("127.0.0.1", "localhost"))


async def test_a_flood_of_unknown_keys(issuer: OidcIssuer, jwks: Jwks, clock: Clock):
    """Tokens with any number of unknown keys make us ask once a minute."""
    for number in range(500):
        assert await jwks.key(row(issuer), f"random-{number}") is None
    assert issuer.asked == [CONFIGURATION, KEYS]
    clock.advance(PAUSE)
    for number in range(500):
        assert await jwks.key(row(issuer), f"other-{number}") is None
    assert issuer.asked == [CONFIGURATION, KEYS] * 2
    assert await jwks.key(row(issuer), "RS256-1")


async def test_many_at_once_ask_once(issuer: OidcIssuer, jwks: Jwks):
    """Whoever comes while the issuer is asked waits for its answer."""
    issuer.behave = issuer.hold
    waiting = [Deferred.fromCoroutine(jwks.key(row(issuer), "RS256-1")) for _ in range(50)]
    await deferToThread(eventually, lambda: issuer.asked, 10)
    assert not any(one.called for one in waiting)
    issuer.release.set()
    assert all(await gatherResults(waiting))
    assert issuer.asked == [CONFIGURATION, KEYS]


async def test_rotation(issuer: OidcIssuer, jwks: Jwks, clock: Clock):
    """A new key is known when it is used, a minute after the last question; an old one is forgotten then."""
    assert await jwks.key(row(issuer), "RS256-1")
    issuer.rotate("ES256-2")
    assert await jwks.key(row(issuer), "ES256-2") is None
    clock.advance(PAUSE)
    assert await jwks.key(row(issuer), "ES256-2")
    assert await jwks.key(row(issuer), "RS256-1") is None


async def test_a_key_that_is_taken_back(issuer: OidcIssuer, jwks: Jwks, clock: Clock):
    """What is known is not asked for again for ten minutes, then it is."""
    assert await jwks.key(row(issuer), "RS256-1")
    issuer.rotate("ES256-2")
    clock.advance(FRESH - 1)
    assert await jwks.key(row(issuer), "RS256-1")
    assert issuer.asked == [CONFIGURATION, KEYS]
    clock.advance(1)
    assert await jwks.key(row(issuer), "RS256-1") is None


async def test_an_issuer_that_goes_down(issuer: OidcIssuer, jwks: Jwks, clock: Clock):
    """Its keys are believed for a day, while it is asked once a minute; unknown ones get 503 and when to come again."""
    assert await jwks.key(row(issuer), "RS256-1")
    issuer.behave = issuer.redirect
    for _ in range(3):
        clock.advance(FRESH)
        for _ in range(10):
            assert await jwks.key(row(issuer), "RS256-1")
            with pytest.raises(Unavailable) as caught:
                await jwks.key(row(issuer), "ES256-2")
            assert caught.value.headers == {"Retry-After": "60"}
    assert issuer.asked == [CONFIGURATION, KEYS, *[CONFIGURATION] * 3]
    clock.advance(STALE - 3 * FRESH)
    with pytest.raises(Unavailable):
        await jwks.key(row(issuer), "RS256-1")
    issuer.behave = None
    clock.advance(PAUSE)
    assert await jwks.key(row(issuer), "RS256-1")


async def test_issuers_are_apart(issuer: OidcIssuer, jwks: Jwks):
    """The keys of one issuer are not those of another."""
    with running() as other:
        other.rotate("ES256-2")
        elsewhere = Issuer(2, "other", other.url, "us", None, datetime.now(UTC))
        assert await jwks.key(row(issuer), "RS256-1")
        assert await jwks.key(elsewhere, "ES256-2")
        assert await jwks.key(elsewhere, "RS256-1") is None
        assert other.asked == issuer.asked
