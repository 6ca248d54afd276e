"""Addresses, and the rules of what is sent where."""

from __future__ import annotations

import pytest
from treq.client import HTTPClient

from artifactapi.upstream.address import Address
from artifactapi.upstream.origin import Origin, Trust


@pytest.mark.parametrize(
    "text",
    [
        "https://registry.example/",
        "https://registry.example:5000/v2/a/blobs/sha256:0?X-Sig=a%2Fb+c==&x=&y",
        "http://127.0.0.1/a%20b;c,d'e(f)*!$~",
        "https://[::1]:5000/x",
    ],
)
def test_addresses_are_kept(text: str):
    """What was taken apart is put together again as it was: a signature covers every byte."""
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text, same",
    [
        ("HTTPS://Registry.Example:443", "https://registry.example/"),
        ("http://registry.example:80/x#part", "http://registry.example/x"),
    ],
)
def test_addresses_have_one_form(text: str, same: str):
    """Scheme, host and port are compared as they are used; a fragment is nobody's business."""
    assert str(Address.parse(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/v2/",
        "//registry.example/",
        "ftp://registry.example/",
        "file:///etc/passwd",
        "https:///nowhere",
        "https://user:password@registry.example/",
        "https://registry.example@evil.example/",
        "https://registry.example\\@evil.example/",
        "https://registry.example\\.evil.example/",
        "https://registry.example\t/",
        "https://registry.example /",
        "https://registry.example\r\nX: y/",
        "https://registry.example:port/",
        "https://registry.example:99999/",
        "https://r\u00e9gistry.example/",
        "https://[registry.example/",
        "https://%65vil.example/",
        "https://registry.example/" + "a" * 9000,
    ],
)
def test_addresses_that_are_none(text: str):
    """What two parsers could read in two ways is no address."""
    with pytest.raises(ValueError):
        Address.parse(text)


@pytest.mark.parametrize(
    "reference, target",
    [
        ("https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
        ("/y?z=1", "https://registry.example/y?z=1"),
        ("y", "https://registry.example/v2/y"),
        ("?last=a", "https://registry.example/v2/x?last=a"),
        ("//cdn.example/x", "https://cdn.example/x"),
    ],
)
def test_references(reference: str, target: str):
    """A reference is resolved against the address it was found at."""
    found = Address.parse("https://registry.example/v2/x?n=1")
    assert str(found.joined(reference)) == target
    assert found.here(reference).shares_server(found)


def test_parameters():
    """Parameters are added to those an address has."""
    address = Address.parse("https://auth.example/token?a=1")
    assert str(address.asking(service="s t", scope=None)) == "https://auth.example/token?a=1&service=s+t"
    assert str(address.asking(scope=None)) == "https://auth.example/token?a=1"


def test_repr_hides():
    """Neither a password nor the signature in a query is shown."""
    origin = Origin("https://registry.example", "user", "secret-password")
    assert "secret" not in repr(origin)
    assert "secret" not in repr(Address.parse("https://cdn.example/x?sig=secret"))
    assert "secret" not in repr(origin.address.asking(sig="secret"))


@pytest.mark.parametrize("url", ["registry.example", "https://u:p@registry.example", "https://registry.example/?a=b"])
def test_origins_that_are_none(url: str):
    """An origin has an absolute address without a user or a query."""
    with pytest.raises(ValueError):
        Origin(url)


def test_prefix():
    """Names of one component get the prefix, as Docker Hub's do."""
    origin = Origin("https://registry.example", prefix="library/")
    assert [origin.name(name) for name in ("debian", "team/app")] == ["library/debian", "team/app"]
    assert Origin("https://registry.example").name("debian") == "debian"


@pytest.mark.parametrize(
    "own, realm, ask, tell",
    [
        ("https://r.example", "https://r.example/token", True, True),
        ("https://r.example", "https://r.example:8443/token", True, True),
        ("https://r.example", "http://r.example/token", False, False),
        ("https://r.example", "https://auth.example/token", True, True),
        ("https://r.example", "http://auth.example/token", False, False),
        ("https://r.example", "https://evil.example/token", True, False),
        ("https://r.example", "https://r.example.evil.example/token", True, False),
        ("https://r.example", "https://sub.r.example/token", True, False),
        ("https://r.example", "http://evil.example/token", False, False),
        ("https://r.example", "http://127.0.0.1/token", False, False),
        ("https://r.example", "https://localhost/token", False, False),
        ("http://r.example", "http://r.example:81/token", True, True),
        ("http://r.example", "http://auth.example/token", True, True),
        ("http://r.example", "http://evil.example/token", False, False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True, True),
        ("http://127.0.0.1:5000", "http://localhost:5001/token", True, False),
        ("https://127.0.0.1:5000", "http://127.0.0.1:5001/token", True, True),
    ],
)
def test_realms(own: str, realm: str, ask: bool, tell: bool):
    """Credentials go to the upstream's host and listed ones, over TLS where the upstream has it; others are asked
    without them, if nobody can listen."""
    trust = Trust(Origin(own, "user", "password", realms=frozenset({"Auth.example"})))
    address = Address.parse(realm)
    assert (trust.may_ask(address), trust.may_tell(address)) == (ask, tell)


@pytest.mark.parametrize(
    "own, source, target, followed",
    [
        ("https://r.example", "https://r.example/", "https://cdn.example/", True),
        ("https://r.example", "https://r.example/", "http://cdn.example/", False),
        ("https://r.example", "https://r.example/", "http://r.example/", False),
        ("https://r.example", "https://r.example/", "http://127.0.0.1/", False),
        ("https://r.example", "https://r.example/", "https://localhost/", False),
        ("https://r.example", "https://r.example/", "http://[::1]/", False),
        ("http://r.example", "http://r.example/", "http://cdn.example/", True),
        ("http://r.example", "https://cdn.example/", "http://cdn.example/", False),
        ("http://r.example", "http://r.example/", "http://127.0.0.2/", False),
        ("http://r.example", "http://r.example/", "http://0.0.0.0:8000/", False),
        ("http://r.example", "http://r.example/", "http://127.1/", False),
        ("http://r.example", "http://r.example/", "http://0x7f000001/", False),
        ("http://r.example", "http://r.example/", "http://2130706433/", False),
        ("http://r.example", "http://r.example/", "http://[::]/", False),
        ("http://r.example", "http://r.example/", "http://[::ffff:127.0.0.1]/", False),
        ("http://r.example", "http://r.example/", "http://localhost./", False),
        ("http://r.example", "http://r.example/", "http://10.1/", True),
        ("https://127.0.0.1", "https://127.0.0.1/", "http://localhost/", True),
    ],
)
def test_redirects(own: str, source: str, target: str, followed: bool):
    """A redirect gives up no TLS, and leads into this machine only from this machine."""
    trust = Trust(Origin(own))
    assert trust.may_follow(Address.parse(source), Address.parse(target)) is followed


@pytest.mark.parametrize(
    "text",
    ["https://c.example/a%2Fb/~c/%7e/d+e?X=a%2Bb%2f&s=a+b==&x&y=&z=a;b&q='()*!$,:@/", "https://c.example/a//b?u"],
)
def test_treq_keeps_addresses(text: str):
    """treq sends an address as it is, for the signature in it covers every byte."""
    sent = []

    class Agent:
        def request(self, method, uri, headers=None, bodyProducer=None):
            sent.append(uri)
            raise StopIteration

    with pytest.raises(StopIteration):
        HTTPClient(Agent()).request("GET", str(Address.parse(text)))
    assert sent == [text.encode()]
