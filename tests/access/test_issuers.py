"""Issuers and identities: what they may be, which claims match, and who is told of what changes."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from artifactapi.access.access import Access
from artifactapi.access.administered import Exists, NoAdministrator, Unknown
from artifactapi.access.claims import PUBLIC, mismatches, too_wide
from artifactapi.access.rights import EVERYTHING
from artifactapi.metadata import audit
from artifactapi.metadata.audit import By, Filter
from artifactapi.oci.fields import FieldsInvalid
from artifactapi.upstream.connections import Connections
from tests.access.issuer import NAMES, administrator
from tests.client import Client

BY = By("user:admin", "password", "192.0.2.7", "request-1")
GITHUB, GITLAB = PUBLIC
CI = {"name": "ci", "url": GITHUB, "audience": "https://registry.example.org"}
BUILD = {"name": "build", "issuer": "ci", "claims": {"repository": "octo-org/*", "ref": "refs/heads/main"}}


@pytest_twisted.async_yield_fixture
async def access(database, threads):
    """Access control with an administrator."""
    made = Access.over(database, threads, (EVERYTHING,), 20, 900, Connections(reactor))
    await administrator(database)
    await made.start()
    yield made
    await made.policy.stop()


async def test_life(access: Access, database: Any):
    """Both are made, listed, read and deleted; each change is in the audit. Identities go with their issuer."""
    issuer = await access.issuers.create(CI, BY)
    assert (issuer.name, issuer.url, issuer.jwks_url) == ("ci", GITHUB, None)
    identity = await access.identities.create(BUILD, BY)
    await access.identities.create({**BUILD, "name": "also"}, BY)
    assert await access.issuers.read("ci") == issuer
    assert await access.identities.read("build") == identity
    assert [found.name for found in await access.identities.listing("", 10)] == ["also", "build"]
    await access.grants.create({"to": "identity:build", "repo": "*", "rights": ["pull"]}, BY)
    await access.identities.delete("also", BY)
    await access.issuers.delete("ci", BY)
    assert await access.issuers.listing("", 10) == []
    assert await access.identities.listing("", 10) == []
    assert await access.grants.listing(0, 10, None, "identity:build") == []
    shown = [(entry.event.action, entry.event.detail) for entry in await audit.listing(database, Filter(), None, 10)]
    assert [one for one in reversed(shown) if one[0].startswith("i")] == [
        ("issuer.create", {"issuer": "ci", "url": GITHUB, "audience": CI["audience"]}),
        ("identity.create", {"identity": "build", "issuer": "ci", "claims": BUILD["claims"]}),
        ("identity.create", {"identity": "also", "issuer": "ci", "claims": BUILD["claims"]}),
        ("identity.delete", {"identity": "also", "issuer": "ci"}),
        ("issuer.delete", {"issuer": "ci", "url": GITHUB}),
    ]


async def test_names_that_are_taken(access: Access):
    """One name, one URL, one issuer; and what is not there cannot be deleted."""
    await access.issuers.create(CI, BY)
    await access.identities.create(BUILD, BY)
    for taken in ({"name": "other"}, {"url": GITLAB}):
        with pytest.raises(Exists):
            await access.issuers.create({**CI, **taken}, BY)
    with pytest.raises(Exists):
        await access.identities.create(BUILD, BY)
    for part in (access.issuers, access.identities):
        for work in (part.read("absent"), part.delete("absent", BY)):
            with pytest.raises(Unknown):
                await work


async def test_the_first_account(database: Any, threads: Any):
    """An identity is an account: without an administrator there is none, as nobody could take it back."""
    made = Access.over(database, threads, (EVERYTHING,), 20, 900, Connections(reactor))
    await made.issuers.create(CI, BY)
    with pytest.raises(NoAdministrator):
        await made.identities.create(BUILD, BY)


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"name": "-"}, "name"),
        ({"url": "http://example.org"}, "url"),
        ({"url": None}, "url"),
        ({"audience": None}, "audience"),
        ({"audience": ""}, "audience"),
        ({"audience": ["x"]}, "audience"),
        ({"audience": "x\0"}, "audience"),
        ({"jwks_url": "http://127.0.0.1/keys"}, "jwks_url"),
        ({"jwks_url": 7}, "jwks_url"),
        ({"secret": "x"}, "secret"),
    ],
)
async def test_issuers_that_cannot_be(access: Access, wrong: dict[str, Any], field: str):
    """The error names the field."""
    with pytest.raises(FieldsInvalid) as caught:
        await access.issuers.create({**CI, **wrong}, BY)
    assert [error.detail for error in caught.value.errors] == [{"field": field}]


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"name": "a b"}, "name"),
        ({"issuer": "absent"}, "issuer"),
        ({"claims": None}, "claims"),
        ({"claims": {}}, "claims"),
        ({"claims": ["sub"]}, "claims"),
        ({"claims": {"sub": 7}}, "claims"),
        ({"claims": {"sub": ["a"]}}, "claims"),
        ({"claims": {"sub": ""}}, "claims"),
        ({"claims": {"": "x"}}, "claims"),
        ({"claims": {"sub": "a\0"}}, "claims"),
        ({"claims": {"sub": "a\ud800"}}, "claims"),
        ({"claims": {"sub": "a" * 1001}}, "claims"),
        ({"claims": {f"c{n}": "x" for n in range(21)}}, "claims"),
        ({"claims": {"ref": "refs/heads/main"}}, "claims"),
    ],
)
async def test_identities_that_cannot_be(access: Access, wrong: dict[str, Any], field: str):
    """The error names the field."""
    await access.issuers.create(CI, BY)
    with pytest.raises(FieldsInvalid) as caught:
        await access.identities.create({**BUILD, **wrong}, BY)
    assert [error.detail for error in caught.value.errors] == [{"field": field}]


OWN = "https://kubernetes.default.svc"
WIDTHS = [
    (OWN, {"sub": "system:serviceaccount:ci:*"}, True),
    (OWN, {"sub": "system:serviceaccount:*"}, True),
    (OWN, {"aud": "x"}, False),
    (OWN, {"aud": "x", "iss": OWN, "iat": "1*", "sub": "*"}, False),
    (OWN, {"sub": "*", "kubernetes.io.namespace": "?*"}, False),
    (GITHUB, {"sub": "repo:octo-org/octo-repo:*"}, True),
    (GITHUB, {"sub": "repo:octo-org/*"}, True),
    (GITHUB, {"repository": "octo-org/*"}, True),
    (GITHUB, {"repository_owner": "octo-org", "ref": "*"}, True),
    (GITHUB, {"repository_id": "74"}, True),
    (GITHUB, {"repository_id": "7*"}, False),
    (GITHUB, {"sub": "*"}, False),
    (GITHUB, {"sub": "repo:*"}, False),
    (GITHUB, {"sub": "repo:octo-org*"}, False),
    (GITHUB, {"sub": "repo:?cto-org/octo-repo"}, False),
    (GITHUB, {"sub": "*octo-org/octo-repo:*"}, False),
    (GITHUB, {"sub": "environment:production"}, False),
    (GITHUB, {"sub": "repo:"}, False),
    (GITHUB, {"repository": "*/octo-repo"}, False),
    (GITHUB, {"repository": "/x"}, False),
    (GITHUB, {"repository_owner": "octo-*"}, False),
    (GITHUB, {"ref": "refs/heads/main", "event_name": "push", "actor": "octocat"}, False),
    (GITLAB, {"sub": "project_path:team/app:ref_type:branch:ref:main"}, True),
    (GITLAB, {"namespace_path": "team/sub/*"}, True),
    (GITLAB, {"project_path": "te*m/app"}, False),
    (GITLAB, {"repository": "octo-org/*"}, False),
]


@pytest.mark.parametrize("issuer, claims, good", WIDTHS, ids=lambda value: str(value))
def test_claims_that_are_too_wide(issuer: str, claims: dict[str, str], good: bool):
    """Claims must tell a holder from the others; of an issuer that everybody can have tokens from, whose he is."""
    assert (too_wide(issuer, claims) is None) is good


SAID = {
    **NAMES["kubernetes"],
    "text": "a*b",
    "empty": "",
    "flag": True,
    "number": 72,
    "float": 1.5,
    "nothing": None,
    "list": ["a", 7, False, ["b"], {"c": "d"}],
    "https://example.org/team": "x",
    "a.b": {"c.d": {"e": "deep"}},
    "two": {"ways": "right"},
    "two.ways": "wrong",
}
MATCHES = [
    ("kubernetes.io.namespace", "ci", True),
    ("kubernetes.io.pod.name", "build-*", True),
    ("kubernetes.io.pod", "*", False),
    ("kubernetes.io", "*", False),
    ("kubernetes", "*", False),
    ("namespace", "*", False),
    ("kubernetes.io.", "*", False),
    (".", "*", False),
    ("text", "a*", True),
    ("text", "b", False),
    ("text", "A*", False),
    ("empty", "*", True),
    ("empty", "?*", False),
    ("absent", "*", False),
    ("nothing", "*", False),
    ("flag", "true", True),
    ("flag", "True", False),
    ("flag", "1", False),
    ("number", "72", True),
    ("number", "7", False),
    ("float", "1.5", True),
    ("list", "a", True),
    ("list", "7", True),
    ("list", "false", True),
    ("list", "b", False),
    ("list", "d", False),
    ("list.0", "a", False),
    ("https://example.org/team", "x", True),
    ("a.b.c.d.e", "deep", True),
    ("two.ways", "right", False),
    ("two.ways", "wrong", False),
]


@pytest.mark.parametrize("claim, pattern, good", MATCHES)
def test_matches(claim: str, pattern: str, good: bool):
    """Strings, numbers, booleans, elements of lists and members of objects match; what has two readings does not."""
    assert mismatches({"sub": "system:*", claim: pattern}, SAID) == ([] if good else [claim])


async def test_over_http(client: Client):
    """Both are resources, in pages by name."""

    async def post(path: str, text: str) -> Any:
        answer = await client.request("POST", path, text.encode())
        assert answer.status == 201, answer.body
        found = await client.get(answer.headers["Location"])
        assert found.json == answer.json
        return found.json

    for name in "ab":
        made = await post("/api/v1/issuers", f'{{"name":"{name}","url":"https://{name}.example.org","audience":"us"}}')
        assert made.keys() == {"name", "url", "audience", "jwks_url", "created_at"}
    page = await client.get("/api/v1/issuers?n=1")
    assert [issuer["name"] for issuer in page.json["issuers"]] == ["a"]
    assert page.headers["Link"] == '</api/v1/issuers?n=1&last=a>; rel="next"'
    assert [issuer["name"] for issuer in (await client.get("/api/v1/issuers?last=a")).json["issuers"]] == ["b"]
    answer = await client.request("POST", "/api/v1/identities", b'{"name":"x","issuer":"a","claims":{"sub":"b"}}')
    assert (answer.status, answer.code) == (409, "NO_ADMINISTRATOR")
    assert (await client.get("/api/v1/identities")).json == {"identities": []}
    assert (await client.request("DELETE", "/api/v1/issuers/a")).status == 204
    assert (await client.get("/api/v1/issuers/a")).status == 404
