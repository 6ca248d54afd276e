"""Remote repos of real registries: another artifactapi with accounts, and Debian's docker-registry."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.service import Config
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.daemon import Daemon
from tests.remote.shelf import LAYER
from tests.upstream.real import PASSWORD, USER, DockerRegistry, Pusher
from tests.upstream.scripted import basic

HEADER = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With the passwords in the test's directory."""
    (tmp_path / "password").write_text(PASSWORD)
    return replace(config, secrets_dir=tmp_path)


@pytest.fixture(params=["password_registry", "token_registry"])
def guarded(request: pytest.FixtureRequest) -> DockerRegistry:
    """Docker's registry, which lets nobody pull without a password."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Daemon]:
    """Another artifactapi, whose users have passwords."""
    (tmp_path / "password").write_text(PASSWORD)
    daemon = Daemon(tmp_path / "upstream")
    daemon.spawn(admin_password_file=str(tmp_path / "password"))
    yield daemon
    daemon.kill()


async def push(pusher: Pusher, name: str) -> tuple[bytes, bytes]:
    """An index of an image with a layer, as `v1`; the index and the manifest."""
    digest, manifest = await pusher.push_image(name, None, LAYER)
    child = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}, indent=2).encode()
    assert (await pusher.put_manifest(name, "v1", index, OCI_INDEX)).status == 201
    return index, manifest


async def check(client: Client, name: str, index: bytes, manifest: bytes, source: str) -> None:
    """All of it can be pulled."""
    image = json.loads(manifest)
    wanted = {"manifests/v1": digest_of(index), f"manifests/{digest_of(manifest)}": digest_of(manifest)}
    wanted |= {f"blobs/{blob['digest']}": blob["digest"] for blob in (image["config"], *image["layers"])}
    for path, digest in wanted.items():
        answered = await client.get(f"/v2/{name}/{path}")
        assert (answered.status, answered.headers["X-Artifact-Source"]) == (200, source), path
        assert answered.headers["Docker-Content-Digest"] == digest_of(answered.body) == digest


async def test_docker_registry(client: Client, remote, docker_registry: DockerRegistry):
    """A pull through Docker's registry: a miss, then a hit; its errors and its tags are told."""
    index, manifest = await push(docker_registry.pusher, "team/app")
    await remote(upstream=docker_registry.url)
    for source in ("miss", "hit"):
        await check(client, "hub/team/app", index, manifest, source)
    assert (await client.get("/v2/hub/team/app/tags/list")).json["tags"] == ["v1"]
    assert (await client.get(f"/v2/hub/team/app/referrers/{digest_of(manifest)}")).json["manifests"] == []
    for path in ("team/app/manifests/v2", "other/manifests/v1", f"team/app/blobs/{digest_of(b'x')}"):
        assert (await client.get(f"/v2/hub/{path}")).status == 404


async def test_docker_registry_with_a_password(client: Client, remote, guarded: DockerRegistry, tmp_path: Path):
    """The right password pulls, by Basic or with a token; with a wrong one, or none, the pull is denied."""
    index, manifest = await push(guarded.pusher, "team/app")
    (tmp_path / "wrong").write_text("incorrect")
    await remote(upstream=guarded.url, username=USER, password_secret="password")
    await remote("stranger", upstream=guarded.url, username=USER, password_secret="wrong")
    await remote("nobody", upstream=guarded.url)
    for source in ("miss", "hit"):
        await check(client, "hub/team/app", index, manifest, source)
    assert (await client.get("/v2/hub/team/app/tags/list")).json["tags"] == ["v1"]
    for name in ("stranger", "nobody"):
        for path in ("manifests/v1", f"manifests/{digest_of(manifest)}", f"blobs/{digest_of(LAYER)}", "tags/list"):
            answered = await client.get(f"/v2/{name}/team/app/{path}")
            assert (answered.status, answered.code) == (403, "DENIED"), path


async def test_no_credentials_are_told(client: Client, remote, guarded: DockerRegistry, tmp_path: Path, log_text):
    """Neither the API nor the log has a password or a token of the upstream's, when they are taken and when not."""
    await push(guarded.pusher, "team/app")
    (tmp_path / "wrong").write_text("incorrect")
    await remote(upstream=guarded.url, username=USER, password_secret="password")
    pulled = await client.get("/v2/hub/team/app/manifests/v1")
    await remote(password_secret="wrong")
    denied = await client.get("/v2/hub/team/app/manifests/v2")
    assert (pulled.status, denied.status) == (200, 403)
    assert '"GET /v2/hub/team/app/manifests/v1" 200' in log_text.getvalue()
    answers = [denied, *[await client.get(path) for path in ("/api/v1/repos/hub", "/api/v1/repos", "/api/v1/audit")]]
    for text in (log_text.getvalue(), *(f"{answered.headers}{answered.body!r}" for answered in answers)):
        assert [word for word in (PASSWORD, "incorrect", HEADER, "Basic ", "Bearer ", "eyJ") if word in text] == []


async def test_accounts(client: Client, remote, accounts: Daemon):
    """A pull through another artifactapi, with a password and its tokens; without them it is denied."""
    port = (await deferToThread(accounts.client)).port
    index, manifest = await push(Pusher(port, basic("admin", PASSWORD)), "docker-internal/app")
    settings = {"upstream": f"http://127.0.0.1:{port}", "prefix": "docker-internal/"}
    await remote("anonymous", **settings)
    await remote(**settings, username="admin", password_secret="password")
    answered = await client.get("/v2/anonymous/app/manifests/v1")
    assert (answered.status, answered.code) == (403, "DENIED")
    for source in ("miss", "hit"):
        await check(client, "hub/app", index, manifest, source)
    accounts.kill()
    await check(client, "hub/app", index, manifest, "hit")
