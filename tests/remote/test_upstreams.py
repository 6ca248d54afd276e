"""Remote repos of real registries: another artifactapi with accounts, and Debian's docker-registry."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.service import Config
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.daemon import Daemon, eventually
from tests.remote.conftest import as_json
from tests.remote.shelf import LAYER
from tests.upstream.scripted import basic

REGISTRY = shutil.which("docker-registry") or "/usr/bin/docker-registry"
PASSWORD = "of an administrator"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With the passwords in the test's directory."""
    return replace(config, secrets_dir=tmp_path)


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[Client]:
    """Docker's own registry."""
    port = free_port()
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen([REGISTRY, "serve", str(config)], stdout=log, stderr=log)
    client = Client("127.0.0.1", port)

    def serves() -> bool:
        try:
            return client.send("GET", "/v2/").status == 200
        except OSError:
            return False

    try:
        eventually(serves)
        yield client
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Daemon]:
    """Another artifactapi, whose users have passwords."""
    (tmp_path / "password").write_text(PASSWORD)
    daemon = Daemon(tmp_path / "upstream")
    daemon.spawn(admin_password_file=str(tmp_path / "password"))
    yield daemon
    daemon.kill()


async def push(client: Client, name: str, headers: dict[str, str]) -> tuple[bytes, bytes]:
    """An index of an image with a layer; the index and the manifest."""

    async def send(method: str, path: str, body: bytes | None = None, **more: str):
        answered = await deferToThread(client.send, method, path, body, {**headers, **more})
        assert answered.status in (201, 202), answered.body
        return answered

    async def blob(content: bytes, media_type: str) -> dict[str, object]:
        started = await send("POST", f"/v2/{name}/blobs/uploads/")
        location = started.headers["Location"].removeprefix(f"http://{client.host}:{client.port}")
        mark = "&" if "?" in location else "?"
        await send("PUT", f"{location}{mark}digest={digest_of(content)}", content)
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    config = await blob(b"{}", "application/vnd.oci.image.config.v1+json")
    layer = await blob(LAYER, "application/vnd.oci.image.layer.v1.tar")
    manifest = as_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]})
    await send("PUT", f"/v2/{name}/manifests/{digest_of(manifest)}", manifest, **{"Content-Type": OCI_MANIFEST})
    child = {"mediaType": OCI_MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}, indent=2).encode()
    await send("PUT", f"/v2/{name}/manifests/v1", index, **{"Content-Type": OCI_INDEX})
    return index, manifest


async def check(client: Client, name: str, index: bytes, manifest: bytes, source: str) -> None:
    """All of it can be pulled."""
    for path, content in (
        ("manifests/v1", index),
        (f"manifests/{digest_of(manifest)}", manifest),
        (f"blobs/{digest_of(LAYER)}", LAYER),
        (f"blobs/{digest_of(b'{}')}", b"{}"),
    ):
        answered = await client.get(f"/v2/{name}/{path}")
        assert (answered.status, answered.headers["X-Artifact-Source"]) == (200, source), path
        assert answered.body == content


async def test_docker_registry(client: Client, remote, docker_registry: Client):
    """A pull through Docker's registry: a miss, then a hit; its errors and its tags are told."""
    index, manifest = await push(docker_registry, "team/app", {})
    await remote(upstream=f"http://127.0.0.1:{docker_registry.port}")
    for source in ("miss", "hit"):
        await check(client, "hub/team/app", index, manifest, source)
    assert (await client.get("/v2/hub/team/app/tags/list")).json["tags"] == ["v1"]
    assert (await client.get(f"/v2/hub/team/app/referrers/{digest_of(manifest)}")).json["manifests"] == []
    for path in ("team/app/manifests/v2", "other/manifests/v1", f"team/app/blobs/{digest_of(b'x')}"):
        assert (await client.get(f"/v2/hub/{path}")).status == 404


async def test_accounts(client: Client, remote, accounts: Daemon):
    """A pull through another artifactapi, with a password and its tokens; without them it is denied."""
    upstream = await deferToThread(accounts.client)
    index, manifest = await push(upstream, "docker-internal/app", {"Authorization": basic("admin", PASSWORD)})
    settings = {"upstream": f"http://127.0.0.1:{upstream.port}", "prefix": "docker-internal/"}
    await remote("anonymous", **settings)
    await remote(**settings, username="admin", password_secret="password")
    answered = await client.get("/v2/anonymous/app/manifests/v1")
    assert (answered.status, answered.code) == (403, "DENIED")
    for source in ("miss", "hit"):
        await check(client, "hub/app", index, manifest, source)
    accounts.kill()
    await check(client, "hub/app", index, manifest, "hit")
