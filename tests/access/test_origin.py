"""Where a request comes from, and as what the daemon is known there: proxies are believed if they are ours."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from artifactapi.access.attempts import block
from artifactapi.api.origin import Outside
from artifactapi.config import Config
from tests.access.people import API, PASSWORD, Administrator, Person, basic

OURS = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7", "fd00::/8")))


class Sent:
    """What `Outside` looks at of a request."""

    def __init__(self, peer: Any, lines: list[tuple[str, str]], secure: bool = False) -> None:
        self.client = peer
        self.requestHeaders = Headers()
        for name, value in lines:
            self.requestHeaders.addRawHeader(name, value)
        self._secure = secure

    def getHeader(self, name: str) -> str | None:
        """The last of that name, as twisted.web has it."""
        return (self.requestHeaders.getRawHeaders(name) or [None])[-1]

    def isSecure(self) -> bool:
        """Whether it came over TLS."""
        return self._secure

    def getHost(self) -> Any:
        """Where it came in."""
        return IPv4Address("TCP", "127.0.0.1", 8000)


def peer(host: str) -> Any:
    """The other end of a connection."""
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1234)


@pytest.mark.parametrize(
    "host, forwarded, address",
    [
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9, 10.2.2.2"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9", "10.2.2.2"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9,10.2.2.2 , 192.0.2.7"], "203.0.113.9"),
        ("10.1.1.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),  # the first is what the client wrote itself
        ("10.1.1.1", ["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["10.9.9.9, 203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        ("10.1.1.1", ["garbage"], "10.1.1.1"),
        ("10.1.1.1", ["203.0.113.9, garbage"], "10.1.1.1"),
        ("10.1.1.1", ["garbage, 203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["garbage, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", [",,,"], "10.1.1.1"),
        ("10.1.1.1", ["203.0.113.9:1234"], "10.1.1.1"),
        ("10.1.1.1", ["unknown"], "10.1.1.1"),
        ("10.1.1.1", ["203.0.113.9\t"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9' OR 1=1"], "10.1.1.1"),
        ("10.1.1.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.1.1.1", ["10.2.2.2," * 5000 + "10.2.2.2"], "10.2.2.2"),
        ("fd00::1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1%eth0", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.1.1.1", ["203.0.113.9"], "203.0.113.9"),
        ("192.0.2.7", ["203.0.113.9"], "203.0.113.9"),
        ("192.0.2.8", ["203.0.113.9"], "192.0.2.8"),
        ("203.0.113.1", ["10.1.1.1"], "203.0.113.1"),
        ("2001:db8::1", ["10.1.1.1"], "2001:db8::1"),
    ],
)
def test_the_address(host: str, forwarded: list[str], address: str):
    """It is the last one that none of our proxies is; what does not come from one of ours is not looked at."""
    request = Sent(peer(host), [("X-Forwarded-For", line) for line in forwarded])
    assert Outside(OURS).address(request) == address  # type: ignore[arg-type]
    assert Outside().address(request) == host  # type: ignore[arg-type]


def test_a_unix_socket():
    """It has no address: whoever connects is local, and his headers are nobody's."""
    request = Sent(UNIXAddress(b"/run/x"), [("X-Forwarded-For", "203.0.113.9"), ("Host", "example.org")])
    assert Outside(OURS).address(request) == "local"  # type: ignore[arg-type]
    assert Outside(OURS).base(request) == "http://example.org"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host, headers, base",
    [
        ("203.0.113.1", {"Host": "r.example:5000"}, "http://r.example:5000"),
        ("203.0.113.1", {"Host": "[2001:db8::1]:5000"}, "http://[2001:db8::1]:5000"),
        ("203.0.113.1", {}, "http://127.0.0.1:8000"),
        ("203.0.113.1", {"Host": 'x",scope="y'}, "http://127.0.0.1:8000"),
        ("203.0.113.1", {"Host": "user:secret@x"}, "http://127.0.0.1:8000"),
        ("203.0.113.1", {"Host": "x/path"}, "http://127.0.0.1:8000"),
        ("203.0.113.1", {"Host": "x:123456"}, "http://127.0.0.1:8000"),
        ("203.0.113.1", {"Host": "r", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"}, "http://r"),
        ("10.1.1.1", {"Host": "inner", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "r"}, "https://r"),
        ("10.1.1.1", {"Host": "inner", "X-Forwarded-Proto": "https"}, "https://inner"),
        ("10.1.1.1", {"Host": "inner", "X-Forwarded-Proto": "javascript"}, "http://inner"),
        ("10.1.1.1", {"Host": "inner", "X-Forwarded-Host": "r:443"}, "http://r:443"),
        ("10.1.1.1", {"Host": "inner", "X-Forwarded-Host": 'a"b'}, "http://127.0.0.1:8000"),
    ],
)
def test_the_base(host: str, headers: dict[str, str], base: str):
    """It is what the client called us, or what our proxy says it did; what would not fit a header is not repeated."""
    assert Outside(OURS).base(Sent(peer(host), list(headers.items()))) == base  # type: ignore[arg-type]


def test_our_own_url():
    """Where we know it, no request tells us better; and TLS of our own is https."""
    request = Sent(peer("10.1.1.1"), [("X-Forwarded-Host", "r"), ("Host", "h")], secure=True)
    assert Outside(OURS, "https://registry.example").base(request) == "https://registry.example"  # type: ignore[arg-type]
    assert Outside().base(request) == "https://h"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.10", False),
        ("local", "local", True),
        ("no:address", "no:address", True),
    ],
)
def test_who_counts_as_one(one: str, other: str, same: bool):
    """Of IPv6 everybody has a network, out of which every guess may come from another address."""
    assert (block(one) == block(other)) is same


@pytest.fixture
def config(config: Config) -> Config:
    """A daemon behind a proxy on this machine, where one may be wrong twice."""
    return replace(config, trusted_proxies=(ip_network("127.0.0.0/8"),), login_attempts=2)


async def test_limits_behind_a_proxy(admin: Administrator, nobody: Person):
    """Guesses are counted, and told of, by the client's own address; others behind the same proxy go on."""
    answers = [
        await nobody.showing(f"Bearer aat_{number}").get("/v2/", x_forwarded_for="1.1.1.1, 203.0.113.9")
        for number in range(21)
    ]
    assert [answer.status for answer in answers] == [401] * 20 + [429]
    await admin.add_user("alice")
    person = nobody.user("alice", PASSWORD)
    assert (await person.get("/v2/", x_forwarded_for="203.0.113.9")).status == 429
    assert (await person.get("/v2/", x_forwarded_for="203.0.113.10")).status == 200
    entries = await admin.audit("action=login.failed")
    assert {entry["address"] for entry in entries} == {"203.0.113.9"}


async def test_the_realm_behind_a_proxy(admin: Administrator, nobody: Person):
    """A client is sent for a token to the address it knows."""
    answer = await nobody.get("/v2/", x_forwarded_proto="https", x_forwarded_host="registry.example")
    assert 'realm="https://registry.example/token"' in answer.headers["WWW-Authenticate"]
    lines = [b"Host: \xff", b"X-Forwarded-Host: a\xff\xfe", b"X-Forwarded-For: \xff", b"Connection: close"]
    answer = await deferToThread(nobody.raw, b"\r\n".join([b"GET /v2/ HTTP/1.1", *lines, b"", b""]))
    assert answer.startswith(b"HTTP/1.1 401")
    assert b'realm="http://127.0.0.1:' in answer


async def test_what_is_written_down(admin: Administrator):
    """The audit has the client's address."""
    assert (await admin.request("POST", f"{API}/keys", x_forwarded_for="2001:db8::7")).status == 201
    assert (await admin.audit("n=1"))[0]["address"] == "2001:db8::7"
    assert (await admin.showing(basic("x" * 9)).get("/v2/", x_forwarded_for="x\ty")).status == 401
    assert (await admin.audit("n=1"))[0]["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    "name, own",
    [
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("a.localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("[::::]:8000", True),
        ("[1.2.3.4]", True),
        ("build-7:8000", True),
        ("registry.example:8000", True),
        ("registry.example", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8000", False),
        ("registry.example.evil", False),
    ],
)
def test_names_of_our_own(name: str, own: bool):
    """Addresses, the URL's name, and those without a dot; any other may be somebody's who lets it lead here."""
    request = Sent(peer("127.0.0.1"), [("Host", name)])
    assert Outside(url="https://registry.example").is_own(request) is own  # type: ignore[arg-type]
