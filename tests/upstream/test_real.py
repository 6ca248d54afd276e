"""Real registries as upstreams: Debian's docker-registry, with and without a token server, and another of us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted

from artifactapi.config import Config
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import Tag
from artifactapi.service import Artifactapi
from artifactapi.upstream.errors import Denied, NotThere
from artifactapi.upstream.upstream import Upstream
from tests.client import OCI_MANIFEST
from tests.upstream.reading import whole
from tests.upstream.real import PASSWORD, DockerRegistry, Pusher
from tests.upstream.scripted import basic

LAYER = bytes(range(256)) * 4000
LATEST = Tag("latest")


async def check(upstream: Upstream, name: str, pushed: tuple[str, bytes]) -> None:
    """All that an upstream can be asked for an image that was pushed there as `latest`."""
    digest, manifest = Digest.parse(pushed[0]), pushed[1]
    assert await upstream.digest(name, LATEST) == digest
    for reference in (LATEST, digest):
        found = await upstream.manifest(name, reference)
        assert (found.digest, found.media_type, found.content) == (digest, OCI_MANIFEST, manifest)
        assert await upstream.manifest(name, reference, f'"{digest}"') is None
    layer = Digest.parse(json.loads(manifest)["layers"][0]["digest"])
    assert await upstream.size(name, layer) == len(LAYER)
    assert await whole(await upstream.blob(name, layer)) == LAYER
    part = await upstream.blob(name, layer, 1000)
    assert (part.start, part.length) == (1000, len(LAYER))
    assert await whole(part) == LAYER[1000:]
    assert await upstream.tags(name) == ["latest"]
    with pytest.raises(NotThere):
        await upstream.manifest(name, Tag("other"))
    with pytest.raises(NotThere):
        await upstream.blob(name, Digest("sha256", "0" * 64))


async def test_docker_registry(docker_registry: DockerRegistry, client):
    """Distribution, without access control and without the referrers API."""
    pushed = await docker_registry.pusher.push_image("library/app", "latest", LAYER)
    upstream = client(docker_registry.url, prefix="library/")
    await check(upstream, "app", pushed)
    assert await upstream.referrers("app", Digest.parse(pushed[0])) is None


async def test_many_tags_of_docker_registry(docker_registry: DockerRegistry, client):
    """Its tags come in pages."""
    pusher = docker_registry.pusher
    _, manifest = await pusher.push_image("team/app", None, LAYER)
    for number in range(12):
        assert (await pusher.put_manifest("team/app", f"v{number}", manifest)).status == 201
    assert set(await client(docker_registry.url).tags("team/app")) == {f"v{n}" for n in range(12)}


async def test_docker_registry_with_tokens(token_registry: DockerRegistry, client, observed: list):
    """Distribution, with tokens of a server on another port of its host."""
    pushed = await token_registry.pusher.push_image("team/app", "latest", LAYER)
    await check(client(token_registry.url, username="user", password=PASSWORD), "team/app", pushed)
    assert len([True for operation, *_ in observed if operation == "token"]) == 1
    with pytest.raises(Denied):
        await client(token_registry.url, username="user", password="wrong").digest("team/app", LATEST)
    with pytest.raises(Denied):
        await client(token_registry.url).digest("team/app", LATEST)


@pytest_twisted.async_yield_fixture
async def ours(config: Config, tmp_path: Path):
    """Another of us, with an administrator."""
    from twisted.internet import reactor

    path = tmp_path / "password"
    path.write_text(PASSWORD)
    running = Artifactapi(replace(config, admin_password_file=path), reactor)
    await running.start()
    yield running
    await running.stopService()


async def test_another_of_us(ours: Artifactapi, client, observed: list):
    """artifactapi is an upstream as any other, with tokens of its own, and with referrers."""
    port, name = ours.address.port, "docker-internal/app"
    pusher = Pusher(port, basic("admin", PASSWORD))
    pushed = await pusher.push_image(name, "latest", LAYER)
    upstream = client(f"http://127.0.0.1:{port}", username="admin", password=PASSWORD)
    await check(upstream, name, pushed)
    assert [operation for operation, *_ in observed].count("token") == 1
    subject = {"mediaType": OCI_MANIFEST, "digest": pushed[0], "size": len(pushed[1])}
    digest, _ = await pusher.push_image(name, None, b"signature", subject=subject, artifactType="x/signature")
    for wanted, found in ((None, [digest]), ("x/signature", [digest]), ("x/other", [])):
        entries = await upstream.referrers(name, Digest.parse(pushed[0]), wanted)
        assert [entry["digest"] for entry in entries] == found
    with pytest.raises(Denied):
        await client(f"http://127.0.0.1:{port}", username="admin", password="wrong").digest(name, LATEST)
