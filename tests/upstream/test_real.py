"""Real registries as upstreams: Debian's docker-registry, with and without a token server, and another of us."""

from __future__ import annotations

import base64
import datetime
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from artifactapi.config import Config
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import Tag
from artifactapi.service import Artifactapi
from artifactapi.upstream.errors import Denied, NotThere
from artifactapi.upstream.upstream import Upstream
from tests.client import OCI_MANIFEST, Client
from tests.daemon import DEADLINE, eventually
from tests.upstream.reading import whole
from tests.upstream.scripted import Exchange, Scripted, answer, answer_json, basic

LAYER = bytes(range(256)) * 4000
PASSWORD = "correct horse battery staple"
LATEST = Tag("latest")
REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
TOKEN_AUTH = """\
auth: {{token: {{realm: "{realm}", service: "test", issuer: "us", rootcertbundle: {bundle}}}}}
"""


def free_port() -> int:
    """A port nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class DockerRegistry:
    """Debian's docker-registry, over `directory`; `auth` is a part of its configuration."""

    def __init__(self, directory: Path, auth: str = "") -> None:
        program = shutil.which("docker-registry")
        assert program, "docker-registry is missing: apt-get install docker-registry"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = directory / "registry.yml"
        config.write_text(REGISTRY.format(root=directory / "registry", port=self.port) + auth)
        self._process = subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        with suppress(OSError):
            return Client("127.0.0.1", self.port).send("GET", "/v2/").status in (200, 401)
        return False

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(DEADLINE)


class TokenServer:
    """Docker's token flow as others do it: RS256, and a certificate that the registry trusts."""

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._certificate = self._sign_certificate()
        self.bundle = directory / "bundle.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.scripted = Scripted()
        self.scripted.on("GET /token", self._reply)

    def token(self, name: str, *actions: str) -> str:
        """A token for an image."""
        now = int(time.time())
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        claims = {"iss": "us", "sub": "user", "aud": "test", "iat": now, "nbf": now - 10, "exp": now + 300, "jti": "1"}
        access = [{"type": "repository", "name": name, "actions": list(actions)}]
        chain = {"x5c": [base64.b64encode(der).decode()]}
        return jwt.encode({**claims, "access": access}, self._key, "RS256", headers=chain)

    def _reply(self, exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.seen.target).query)
        if exchange.seen.authorization != basic("user", PASSWORD):
            answer(401, b"{}")(exchange)
        else:
            _, name, actions = query["scope"][0].split(":")
            answer_json(200, {"token": self.token(name, *actions.split(",")), "expires_in": 300})(exchange)

    def _sign_certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        return builder.sign(self._key, hashes.SHA256())


class Pusher(Client):
    """A client that knows how docker-registry is pushed to, with a header of its own."""

    def __init__(self, port: int, authorization: str | None = None) -> None:
        super().__init__("127.0.0.1", port)
        self._headers = {"Authorization": authorization} if authorization else {}

    def send(self, method, path, body=None, headers=None):
        """One request, blocking."""
        return super().send(method, path, body, {**(headers or {}), **self._headers})

    async def push_blob(self, name: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob as docker does."""
        from tests.client import digest_of

        digest = digest_of(content, algorithm)
        location = (await self.request("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
        parts = urlsplit(location)
        target = f"{parts.path}?{parts.query}&digest={digest}" if parts.query else f"{parts.path}?digest={digest}"
        answered = await self.request("PUT", target, content, content_type="application/octet-stream")
        assert answered.status == 201, answered.body
        return digest


async def check(upstream: Upstream, name: str, pushed: tuple[str, bytes]) -> None:
    """All that an upstream can be asked for an image that was pushed there as `latest`."""
    digest, manifest = Digest.parse(pushed[0]), pushed[1]
    head = await upstream.head(name, LATEST)
    assert (head.digest, head.media_type, head.size) == (digest, OCI_MANIFEST, len(manifest))
    for reference in (LATEST, digest):
        found = await upstream.manifest(name, reference)
        assert (found.digest, found.media_type, found.content) == (digest, OCI_MANIFEST, manifest)
        assert await upstream.manifest(name, reference, found.etag) is None
    layer = Digest.parse(json.loads(manifest)["layers"][0]["digest"])
    assert await whole(await upstream.blob(name, layer)) == LAYER
    part = await upstream.blob(name, layer, 1000)
    assert (part.start, part.length) == (1000, len(LAYER))
    assert await whole(part) == LAYER[1000:]
    assert await upstream.tags(name) == [LATEST]
    with pytest.raises(NotThere):
        await upstream.manifest(name, Tag("other"))
    with pytest.raises(NotThere):
        await upstream.blob(name, Digest("sha256", "0" * 64))


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """One without access control."""
    registry = DockerRegistry(tmp_path)
    yield registry
    registry.stop()


@pytest.fixture
def token_server(tmp_path: Path) -> Iterator[TokenServer]:
    """A token server."""
    server = TokenServer(tmp_path)
    yield server
    server.scripted.close()


@pytest.fixture
def guarded_registry(tmp_path: Path, token_server: TokenServer) -> Iterator[DockerRegistry]:
    """One with it."""
    auth = TOKEN_AUTH.format(realm=f"{token_server.scripted.url}/token", bundle=token_server.bundle)
    registry = DockerRegistry(tmp_path, auth)
    yield registry
    registry.stop()


async def test_docker_registry(docker_registry: DockerRegistry, client):
    """Distribution, without access control and without the referrers API."""
    pushed = await Pusher(docker_registry.port).push_image("library/app", "latest", LAYER)
    upstream = client(docker_registry.url, prefix="library/")
    await check(upstream, "app", pushed)
    assert await upstream.referrers("app", Digest.parse(pushed[0])) is None


async def test_many_tags_of_docker_registry(docker_registry: DockerRegistry, client):
    """Its tags come in pages."""
    pusher = Pusher(docker_registry.port)
    _, manifest = await pusher.push_image("team/app", None, LAYER)
    for number in range(12):
        assert (await pusher.put_manifest("team/app", f"v{number}", manifest)).status == 201
    assert {tag.name for tag in await client(docker_registry.url).tags("team/app")} == {f"v{n}" for n in range(12)}


async def test_docker_registry_with_tokens(
    guarded_registry: DockerRegistry, token_server: TokenServer, client, observed: list
):
    """Distribution, with tokens of a server on another port of its host."""
    token = token_server.token("team/app", "pull", "push")
    pushed = await Pusher(guarded_registry.port, f"Bearer {token}").push_image("team/app", "latest", LAYER)
    await check(client(guarded_registry.url, username="user", password=PASSWORD), "team/app", pushed)
    assert len([True for operation, *_ in observed if operation == "token"]) == 1
    with pytest.raises(Denied):
        await client(guarded_registry.url, username="user", password="wrong").head("team/app", LATEST)
    with pytest.raises(Denied):
        await client(guarded_registry.url).head("team/app", LATEST)


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
        await client(f"http://127.0.0.1:{port}", username="admin", password="wrong").head(name, LATEST)
