"""Addresses that stand for another registry: by ?ns=, as containerd has it, and by the Host, for Docker."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_twisted

from tests.access.people import Administrator, Person, basic
from tests.client import Client, digest_of
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream

NAME = "library/app"
CHALLENGE = re.compile(r'Bearer realm="http://[^/]*(/token[^"]*)",service="artifactapi",scope="([^"]*)"')


class Mirror(Person):
    """A client that asks for a registry in one of the ways."""

    def __init__(self, client: Client, host: str | None, namespace: str | None, header: str | None = None) -> None:
        super().__init__(client, header)
        self.registry_host = host
        self.namespace = namespace

    def send(self, method: str, path: str, body: Any = None, headers: Any = None) -> Any:
        """One request, blocking."""
        if self.namespace and "ns=" not in path:
            path += f"{'&' if '?' in path else '?'}ns={self.namespace}"
        host = {"Host": self.registry_host} if self.registry_host else {}
        return super().send(method, path, body, {**host, **(headers or {})})


WAYS = {
    "ns": (None, "docker.io"),
    "host": ("mirror.example", None),
    "host and port": ("mirror.example:5000", None),
    "port of its own": ("127.0.0.1:7000", None),
    "capitals": ("Mirror.Example", "Docker.io"),
}


@pytest_twisted.async_yield_fixture
async def hub(repos: Admin, upstream: Upstream):
    """`hub` stands for a registry; it has an image there."""
    upstream.add_image(NAME, "v1", "v2", layer=b"layer")
    await repos.change("hub", mirror_of=["docker.io"], hosts=["mirror.example", "127.0.0.1:7000"])
    yield repos


@pytest.fixture(params=WAYS)
def mirror(client: Client, hub: Admin, request: pytest.FixtureRequest) -> Mirror:
    """A client that asks in one of these ways."""
    return Mirror(client, *WAYS[request.param])


async def test_pulls(mirror: Mirror, client: Client):
    """Manifests, blobs, tags and the base are there under the names that the other registry has for them."""
    assert (await mirror.get("/v2/")).status == 200
    for method in ("HEAD", "GET"):
        manifest = await mirror.request(method, f"/v2/{NAME}/manifests/v1")
        assert manifest.status == 200
        assert manifest.headers.get("OCI-Namespace") == mirror.namespace
    digest = manifest.headers["Docker-Content-Digest"]
    assert (await mirror.get(f"/v2/{NAME}/manifests/{digest}")).body == manifest.body
    assert (await mirror.get(f"/v2/{NAME}/blobs/{digest_of(b'layer')}")).body == b"layer"
    first = await mirror.get(f"/v2/{NAME}/tags/list?n=1")
    assert first.json == {"name": NAME, "tags": ["v1"]}
    link = first.headers["Link"].partition(">")[0].removeprefix("<")
    assert ("ns=" in link) == bool(mirror.namespace)
    assert (await mirror.get(link)).json["tags"] == ["v2"]
    assert (await client.get(f"/v2/hub/{NAME}/manifests/v1")).body == manifest.body


async def test_the_catalogue(mirror: Mirror, client: Client, upstream: Upstream):
    """It has the images of the repo alone, by the names that the other registry has for them."""
    await client.push_image("team/app", "v1", b"ours")
    upstream.add_image("zoo", "v1")
    for name in (NAME, "zoo"):
        assert (await mirror.get(f"/v2/{name}/manifests/v1")).status == 200
    first = await mirror.get("/v2/_catalog?n=1")
    second = await mirror.get(first.headers["Link"].partition(">")[0].removeprefix("<"))
    assert [*first.json["repositories"], *second.json["repositories"]] == [NAME, "zoo"]
    assert "Link" not in second.headers
    assert f"hub/{NAME}" in (await client.get("/v2/_catalog")).json["repositories"]


async def test_names_of_one_part(mirror: Mirror, upstream: Upstream):
    """An image there may have a name that would be none here."""
    upstream.add_image("app", "v1")
    assert (await mirror.get("/v2/app/manifests/v1")).status == 200


async def test_what_is_not_there(mirror: Mirror, client: Client):
    """It is 404, and a name never leaves the repo."""
    assert (await mirror.get(f"/v2/{NAME}/manifests/missing")).code == "MANIFEST_UNKNOWN"
    await client.push_image("team/app", "v1", b"ours")
    assert (await mirror.get("/v2/team/app/manifests/v1")).status == 404


async def test_pushes(client: Client, hub: Admin):
    """A whole push goes through a Host that stands for a local repo, and through one of a virtual repo."""
    await hub.change("virtual", hosts=["virtual.example"], push_to="team")
    await hub.change("lab", hosts=["lab.example"])
    for host, name in (("virtual.example", "team/pushed"), ("lab.example", "lab/pushed")):
        there = Mirror(client, host, None)
        started = (await there.request("POST", "/v2/pushed/blobs/uploads/")).headers["Location"]
        assert started.startswith("/v2/pushed/blobs/uploads/")
        done = await there.request("PUT", f"{started}?digest={digest_of(b'x')}", b"x")
        assert (done.status, done.headers["Location"]) == (201, f"/v2/pushed/blobs/{digest_of(b'x')}")
        await there.push_image("pushed", "v1", b"layer")
        assert (await client.get(f"/v2/{name}/manifests/v1")).status == 200
        mount = f"/v2/other/blobs/uploads/?mount={digest_of(b'layer')}&from=pushed"
        assert (await there.request("POST", mount)).status == 201
    refused = await Mirror(client, "mirror.example", None).request("POST", f"/v2/{NAME}/blobs/uploads/")
    assert refused.status == 405


async def test_a_push_that_names_the_registry(client: Client, hub: Admin):
    """Where a client says which registry it means, so does the address of its upload: it asks there as it stands."""
    await hub.change("virtual", mirror_of=["virtual.test"], push_to="team")
    there = Mirror(client, None, "virtual.test")
    started = (await there.request("POST", "/v2/pushed/blobs/uploads/")).headers["Location"]
    sent = await client.request("PATCH", started, b"x")
    assert sent.status == 202, sent.body
    done = await client.request("PUT", f"{sent.headers['Location']}&digest={digest_of(b'x')}")
    assert (done.status, done.headers["Location"]) == (201, f"/v2/pushed/blobs/{digest_of(b'x')}")
    assert (await client.get(f"/v2/team/pushed/blobs/{digest_of(b'x')}")).body == b"x"


@pytest.mark.parametrize(("host", "namespace"), [("other:5000", None), (None, "mirror.test"), ("mirror.example", "x")])
async def test_unknown_registries(client: Client, hub: Admin, host, namespace):
    """A registry that no repo stands for is none: the name is that of a repo here, and nothing says otherwise."""
    await client.push_image("team/app", "v1", b"ours")
    there = Mirror(client, host, namespace)
    assert (await there.get(f"/v2/{NAME}/manifests/v1")).status == 404
    answer = await there.get("/v2/team/app/manifests/v1")
    assert answer.status == 200
    assert "OCI-Namespace" not in answer.headers


async def test_with_accounts(mirror: Mirror, admin: Administrator):
    """The challenge is in the client's names, and leads to a token for what is meant by them."""
    alice = await admin.add_user("alice")
    await admin.grant("user:alice", "hub", "pull")
    path = f"/v2/{NAME}/manifests/v1"
    refused = await mirror.get(path)
    assert refused.status == 401
    challenge = CHALLENGE.match(refused.headers["WWW-Authenticate"])
    assert challenge
    realm, scope = challenge.groups()
    assert scope == f"repository:{NAME}:pull"
    assert "?ns=" in realm
    asked = await Person(mirror, alice.header).get(f"{realm}&service=artifactapi&scope={scope}")
    token = f"Bearer {asked.json['token']}"
    bearing = Mirror(mirror, mirror.registry_host, mirror.namespace, token)
    assert (await bearing.get(path)).status == 200
    assert (await bearing.get("/v2/library/other/manifests/v1")).status == 401
    assert (await Person(mirror, token).get(f"/v2/hub/{NAME}/manifests/v1")).status == 200
    basic = Mirror(mirror, mirror.registry_host, mirror.namespace, alice.header)
    assert (await basic.get(path)).status == 200
    base = await mirror.get("/v2/")
    assert base.status == 401
    assert "?ns=" in base.headers["WWW-Authenticate"]


async def test_what_docker_shows_a_mirror(client: Client, admin: Administrator, hub: Admin):
    """Docker asks a mirror's token server with its credentials for Docker Hub: for what everybody may pull they are not
    looked at, and count as no failed login. For all else they are."""
    theirs = Mirror(client, "mirror.example", None, basic("hubuser", "their password at the hub"))
    pull = f"repository:{NAME}:pull"
    assert (await theirs.ask(pull)).status == 401
    await admin.publish("hub")
    failed = len(await admin.audit("action=login.failed"))
    token = (await theirs.ask(pull)).json["token"]
    assert len(await admin.audit("action=login.failed")) == failed
    assert (
        await Mirror(client, "mirror.example", None, f"Bearer {token}").get(f"/v2/{NAME}/manifests/v1")
    ).status == 200
    for scopes in ([f"{pull},push"], [pull, "repository:UPPER:pull"], ["registry:catalog:*"], []):
        assert (await theirs.ask(*scopes)).status == 401, scopes
    assert (await theirs.showing(theirs.header).ask(f"repository:hub/{NAME}:pull")).status == 401


async def test_a_member_that_is_not_public(client: Client, admin: Administrator, hub: Admin):
    """Whoever may see more of a virtual repo than everybody gets a token of his own at its address."""
    await hub.change("virtual", hosts=["virtual.example"])
    await admin.push_image("team/ours", "v1", b"ours")
    await admin.publish("hub")
    there = Mirror(client, "virtual.example", None, admin.header)
    token = (await there.ask("repository:ours:pull")).json["token"]
    answer = await Mirror(client, "virtual.example", None, f"Bearer {token}").get("/v2/ours/manifests/v1")
    assert answer.status == 200


async def test_a_mount_with_accounts(client: Client, admin: Administrator, hub: Admin):
    """What a token lacks for a mount is said in the client's names too; with it the mount succeeds."""
    await hub.change("team", hosts=["team.example"])
    await admin.push_image("team/from", "v1", b"layer")
    there = Mirror(client, "team.example", None, admin.header)
    mount = f"/v2/to/blobs/uploads/?mount={digest_of(b'layer')}&from=from"
    scopes = ["repository:to:pull,push"]
    for expected in (401, 201):
        query = "&".join(f"scope={scope}" for scope in scopes)
        token = (await there.get(f"/token?service=artifactapi&{query}")).json["token"]
        answer = await Mirror(client, "team.example", None, f"Bearer {token}").request("POST", mount)
        assert answer.status == expected, answer.body
        scopes = answer.headers.get("WWW-Authenticate", 'scope=""').partition('scope="')[2].partition('"')[0].split()
        assert expected != 401 or set(scopes) == {"repository:to:pull,push", "repository:from:pull"}


async def test_a_virtual_repo(client: Client, repos: Admin, upstream: Upstream):
    """It may stand for a registry too: images of ours go before those of the registry."""
    upstream.add_image(NAME, "v1", layer=b"theirs")
    upstream.add_image("library/other", "v1", layer=b"theirs")
    digest, _ = await client.push_image(f"team/{NAME}", "v1", b"patched")
    await repos.change("virtual", mirror_of=["docker.io"])
    there = Mirror(client, None, "docker.io")
    assert (await there.get(f"/v2/{NAME}/manifests/v1")).headers["Docker-Content-Digest"] == digest
    assert (await there.get("/v2/library/other/manifests/v1")).status == 200
