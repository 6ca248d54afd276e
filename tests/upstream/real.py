"""Debian's docker-registry, as whoever runs one has it: open, with passwords, with a token server."""

from __future__ import annotations

import base64
import datetime
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.client import Client, digest_of
from tests.daemon import DEADLINE, eventually
from tests.upstream.scripted import Exchange, Scripted, answer, answer_json, basic

USER = "user"
PASSWORD = "correct horse battery staple"
HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG\n"  # it takes bcrypt alone
REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
TOKEN_AUTH = """\
auth: {{token: {{realm: "{realm}", service: "test", issuer: "us", rootcertbundle: {bundle}}}}}
"""
PASSWORD_AUTH = """\
auth: {{htpasswd: {{realm: "test", path: {path}}}}}
"""


def free_port() -> int:
    """A port nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class DockerRegistry:
    """Debian's docker-registry, over `directory`; `auth` is a part of its configuration.

    Its `pusher` comes with that authorization.
    """

    def __init__(self, directory: Path, auth: str = "", authorization: str | None = None) -> None:
        program = shutil.which("docker-registry")
        assert program, "docker-registry is missing: apt-get install docker-registry"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pusher = Pusher(self.port, authorization)
        config = directory / "registry.yml"
        config.write_text(REGISTRY.format(root=directory / "registry", port=self.port) + auth)
        self._process = subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.pusher.send("GET", "/v2/").status in (200, 401)
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
        claims = {"iss": "us", "sub": USER, "aud": "test", "iat": now, "nbf": now - 10, "exp": now + 300, "jti": "1"}
        access = [{"type": "repository", "name": name, "actions": list(actions)}]
        chain = {"x5c": [base64.b64encode(der).decode()]}
        return jwt.encode({**claims, "access": access}, self._key, "RS256", headers=chain)

    def _reply(self, exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.seen.target).query)
        if exchange.seen.authorization != basic(USER, PASSWORD):
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
        digest = digest_of(content, algorithm)
        location = (await self.request("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
        parts = urlsplit(location)
        target = f"{parts.path}?{parts.query}&digest={digest}" if parts.query else f"{parts.path}?digest={digest}"
        answered = await self.request("PUT", target, content, content_type="application/octet-stream")
        assert answered.status == 201, answered.body
        return digest
