"""Passwords and tokens for an upstream, and who gets to see them."""

from __future__ import annotations

from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.internet.defer import DeferredList

from artifactapi.oci.names import Tag
from artifactapi.upstream.errors import Denied, Limited
from artifactapi.upstream.tokens import MARGIN_SECONDS, _lifetime
from artifactapi.upstream.upstream import Upstream
from tests.upstream.reading import begin, breaks, until
from tests.upstream.scripted import (
    Scripted,
    answer,
    answer_json,
    basic,
    behind,
    hanging,
    held,
    tokens,
    wants_bearer,
)

LATEST = Tag("latest")
BASIC = basic("user", "pass:w\u00f6rd")
CREDENTIALS = {"username": "user", "password": "pass:w\u00f6rd"}
FOUND = answer(200, b"{}")
WANTS_BASIC = answer(401, b"{}", www_authenticate='Basic realm="x"')


def token_requests(server: Scripted) -> list:
    """The requests for tokens that came."""
    return [seen for seen in server.seen if seen.path == "/token"]


def guard(server: Scripted, token: str, realm: str | None = None) -> None:
    """Let the upstream want this token."""
    server.on("/v2/", behind(f"Bearer {token}", FOUND, wants_bearer(f"{server.url}/token" if realm is None else realm)))


async def test_basic(scripted: Scripted, client):
    """A password is shown when it is asked for, and from then on at once."""
    scripted.on("/v2/", behind(BASIC, FOUND, WANTS_BASIC))
    upstream = client(**CREDENTIALS)
    for _ in range(2):
        assert (await upstream.manifest("a", LATEST)).content == b"{}"
    assert [seen.authorization for seen in scripted.seen] == [None, BASIC, BASIC]


async def test_a_wrong_password(scripted: Scripted, client):
    """A wrong password is shown once a request, and denied."""
    scripted.on("/v2/", WANTS_BASIC)
    upstream = client(**CREDENTIALS)
    for _ in range(2):
        with pytest.raises(Denied) as raised:
            await upstream.manifest("a", LATEST)
        assert "w\u00f6rd" not in str(raised.value)
    assert [seen.authorization for seen in scripted.seen] == [None, BASIC, BASIC]


@pytest.mark.parametrize("challenge", [{}, {"www_authenticate": 'Basic realm="x"'}, {"www_authenticate": "Negotiate"}])
async def test_nothing_to_show(scripted: Scripted, upstream: Upstream, challenge: dict[str, str]):
    """Without credentials, or for a scheme we do not know, there is one request, and it is denied."""
    scripted.on("/v2/", answer(401, b"{}", **challenge))
    with pytest.raises(Denied) as raised:
        await upstream.digest("a", LATEST)
    assert raised.value.status == 401
    assert len(scripted.seen) == 1


async def test_a_token(scripted: Scripted, client, observed: list):
    """A token is fetched with the password, for pulling this image only, and kept; the upstream sees the token."""
    guard(scripted, "T1", f"{scripted.url}/token?a=b")
    scripted.on("/token", *tokens("T1"))
    upstream = client(prefix="library", **CREDENTIALS)
    for _ in range(3):
        await upstream.manifest("debian", LATEST)
    [asked] = token_requests(scripted)
    query = parse_qs(urlsplit(asked.target).query)
    assert query == {"a": ["b"], "service": ["test"], "scope": ["repository:library/debian:pull"]}
    assert asked.authorization == BASIC
    shown = [seen.authorization for seen in scripted.seen if seen.path != "/token"]
    assert shown == [None, "Bearer T1", "Bearer T1", "Bearer T1"]
    assert [operation for operation, _, _ in observed] == ["manifest", "token", *["manifest"] * 3]


async def test_a_token_without_credentials(scripted: Scripted, upstream: Upstream):
    """Whoever has no credentials asks for what everybody may have."""
    guard(scripted, "T1")
    scripted.on("/token", answer_json(200, {"access_token": "T1"}))
    await upstream.manifest("a", LATEST)
    assert token_requests(scripted)[0].authorization is None


async def test_a_token_for_each_image(scripted: Scripted, upstream: Upstream):
    """Another image is another scope; how tokens are got is known by then."""
    guard(scripted, "T")
    scripted.on("/token", *tokens("T"))
    for name in ("a", "b", "a", "b"):
        await upstream.manifest(name, LATEST)
    assert [seen.path for seen in scripted.seen] == [
        "/v2/a/manifests/latest", "/token", "/v2/a/manifests/latest", "/token",
        "/v2/b/manifests/latest", "/v2/a/manifests/latest", "/v2/b/manifests/latest",
    ]  # fmt: skip


async def test_one_token_for_many_requests(scripted: Scripted, upstream: Upstream):
    """Requests that want a token at the same time share one."""
    go_on = Event()
    guard(scripted, "T")
    scripted.on("/token", held(go_on, tokens("T")[0]))
    running = [begin(upstream.manifest("a", LATEST)) for _ in range(20)]
    await until(lambda: len(scripted.seen) == 21)
    go_on.set()
    results = await DeferredList(running)
    assert all(well for well, _ in results)
    assert len(token_requests(scripted)) == 1


async def test_one_that_gives_up(scripted: Scripted, upstream: Upstream):
    """A request that is cancelled while it waits for a token leaves it to the others."""
    go_on = Event()
    guard(scripted, "T")
    scripted.on("/token", held(go_on, tokens("T")[0]))
    first, second = begin(upstream.manifest("a", LATEST)), begin(upstream.manifest("a", LATEST))
    await until(lambda: token_requests(scripted))
    first.addErrback(lambda failure: None)
    first.cancel()
    go_on.set()
    assert (await second).content == b"{}"


async def test_a_token_that_is_refused(scripted: Scripted, upstream: Upstream):
    """A token that the upstream does not take any more is replaced, once a request."""
    guard(scripted, "T1")
    scripted.on("/token", *tokens("T1", "T2"))
    await upstream.manifest("a", LATEST)
    guard(scripted, "T2")
    await upstream.manifest("a", LATEST)
    assert len(token_requests(scripted)) == 2


async def test_a_loop(scripted: Scripted, client):
    """An upstream that takes no token ends as denied, after one renewal."""
    guard(scripted, "never")
    scripted.on("/token", *tokens(*[f"T{number}" for number in range(9)]))
    upstream = client(**CREDENTIALS)
    for _ in range(2):
        with pytest.raises(Denied) as raised:
            await upstream.manifest("a", LATEST)
        assert raised.value.status == 401
    shown = [seen.authorization for seen in scripted.seen if seen.path != "/token"]
    assert shown == [None, "Bearer T0", "Bearer T0", "Bearer T1"]


async def test_the_same_token_again(scripted: Scripted, upstream: Upstream):
    """A token server that has nothing better ends it too."""
    guard(scripted, "never")
    scripted.on("/token", *tokens("T"))
    for _ in range(2):
        with pytest.raises(Denied):
            await upstream.manifest("a", LATEST)
    assert len(scripted.seen) == 6 - 1  # the second request shows the token at once, and is not tried with it again


async def test_a_token_that_is_over(scripted: Scripted, upstream: Upstream):
    """A token is not used to its last moment: one that lasts no longer than that is used once."""
    guard(scripted, "T")
    scripted.on("/token", *tokens("T", expires_in=MARGIN_SECONDS))
    await upstream.manifest("a", LATEST)
    await upstream.manifest("a", LATEST)
    assert len(token_requests(scripted)) == 2


@pytest.mark.parametrize(
    "given, used",
    [(300, 290), (60, 50), (None, 50), ("300", 50), (0, 50), (-5, 50), (10**12, 3590), (5, 0), (float("nan"), 50)],
)
def test_how_long_a_token_is_used(given: object, used: float):
    """So many seconds, less a margin; Docker's minute where that makes no sense; never more than an hour."""
    assert _lifetime(given) == used


async def test_bearer_before_basic(scripted: Scripted, client):
    """Of both, the token is chosen: the password goes out less often."""
    challenges = ['Basic realm="x"', f'Bearer realm="{scripted.url}/token",service="test"']
    scripted.on("/v2/", behind("Bearer T", FOUND, answer(401, www_authenticate=challenges)))
    scripted.on("/token", *tokens("T"))
    await client(**CREDENTIALS).manifest("a", LATEST)
    assert BASIC not in [seen.authorization for seen in scripted.seen if seen.path != "/token"]


async def test_a_realm_elsewhere(scripted: Scripted, elsewhere: Scripted, client):
    """A realm on another host never sees our credentials: it gives what everybody may have (CVE-2026-33540)."""
    guard(scripted, "T", f"{elsewhere.url}/token")
    elsewhere.on("/token", *tokens("T"))
    assert (await client(**CREDENTIALS).manifest("a", LATEST)).content == b"{}"
    assert [seen.authorization for seen in elsewhere.seen] == [None]
    assert "user" not in elsewhere.seen[0].target


async def test_a_realm_that_is_not_listed(scripted: Scripted, elsewhere: Scripted, client, lines: list[str]):
    """The log says once that it was not told the credentials, and which one it is; nothing, where there are none."""
    guard(scripted, "T", f"{elsewhere.url}/token")
    elsewhere.on("/token", *tokens("T"))
    await client().manifest("a", LATEST)
    assert not [line for line in lines if "realm" in line]
    upstream = client(**CREDENTIALS)
    for name in ("a", "b"):
        await upstream.manifest(name, LATEST)
    told = [line for line in lines if "realm" in line]
    assert len(told) == 1
    assert "localhost" in told[0]
    assert not [line for line in lines if CREDENTIALS["password"] in line or BASIC in line]


async def test_a_listed_realm(scripted: Scripted, elsewhere: Scripted, client):
    """One that is listed does."""
    guard(scripted, "T", f"{elsewhere.url}/token")
    elsewhere.on("/token", *tokens("T"))
    await client(realms=frozenset({"localhost"}), **CREDENTIALS).manifest("a", LATEST)
    assert [seen.authorization for seen in elsewhere.seen] == [BASIC]


@pytest.mark.parametrize("realm", ["http://auth.example/token", "http://169.254.169.254/latest"])
async def test_a_realm_that_others_can_hear(scripted: Scripted, client, realm: str, observed: list):
    """Of a realm without TLS nothing is asked at all."""
    guard(scripted, "T", realm)
    with pytest.raises(Denied, match=r"http://\S+$"):
        await client(**CREDENTIALS).manifest("a", LATEST)
    assert observed == [("manifest", 401, None)]


@pytest.mark.parametrize("realm", ["", "/token", "https://user@auth.example/", "nonsense"])
async def test_realms_that_are_none(scripted: Scripted, client, realm: str):
    """A realm that is no address is the upstream's fault."""
    guard(scripted, "T", realm)
    await breaks(client(**CREDENTIALS).manifest("a", LATEST), "malformed", 401)


async def test_a_realm_that_moves(scripted: Scripted, upstream: Upstream):
    """When the realm we know fails, the upstream is asked for the realm again."""
    guard(scripted, "T", f"{scripted.url}/old")
    scripted.on("/old", *tokens("T", expires_in=1))
    await upstream.manifest("a", LATEST)
    scripted.on("/old", answer(503))
    await breaks(upstream.manifest("a", LATEST), "status", 503)
    guard(scripted, "T", f"{scripted.url}/token")
    scripted.on("/token", *tokens("T"))
    assert (await upstream.manifest("a", LATEST)).content == b"{}"


@pytest.mark.parametrize("status, error", [(401, Denied), (403, Denied), (429, Limited)])
async def test_a_token_server_that_refuses(scripted: Scripted, client, status: int, error: type[Exception]):
    """What a token server refuses is refused."""
    guard(scripted, "T")
    scripted.on("/token", answer(status, b"{}", retry_after=7))
    with pytest.raises(error) as raised:
        await client(**CREDENTIALS).manifest("a", LATEST)
    assert getattr(raised.value, "retry_after", 7) == 7
    assert len(scripted.seen) == 2


@pytest.mark.parametrize("status", [404, 500, 204])
async def test_a_token_server_that_is_not_there(scripted: Scripted, upstream: Upstream, status: int):
    """That there is no token server does not mean that there is no manifest."""
    guard(scripted, "T")
    scripted.on("/token", answer(status))
    await breaks(upstream.manifest("a", LATEST), "status", status)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"token":5}', b'{"token":""}', b'{"token":"a\\r\\nX: y"}', b'{"token":"a b"}', b"[" * 60_000],
)
async def test_tokens_that_are_none(scripted: Scripted, upstream: Upstream, body: bytes):
    """What cannot stand in a header is no token."""
    guard(scripted, "T")
    scripted.on("/token", answer(200, body))
    await breaks(upstream.manifest("a", LATEST), "malformed", 200)


async def test_too_large_a_token(scripted: Scripted, upstream: Upstream):
    """A token server's answer has its bounds."""
    guard(scripted, "T")
    scripted.on("/token", answer(200, b" " * 100_000))
    await breaks(upstream.manifest("a", LATEST), "large", 200)


async def test_a_token_server_that_hangs(scripted: Scripted, client):
    """And its time."""
    guard(scripted, "T")
    scripted.on("/token", hanging())
    await breaks(client(connect_timeout=0.5, response_timeout=0.5).manifest("a", LATEST), "timeout")
