"""An issuer of OpenID Connect tokens, over HTTP, that does what issuers do, and what they should not."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from artifactapi.metadata import grants, users
from artifactapi.metadata.database import Database

AUDIENCE = "https://registry.example.org"
CONFIGURATION, KEYS = "/.well-known/openid-configuration", "/keys"
NAMES = {
    "github": {
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "repository_id": "74",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main",
        "event_name": "push",
        "run_attempt": "1",
    },
    "gitlab": {
        "sub": "project_path:team/app:ref_type:branch:ref:main",
        "project_path": "team/app",
        "project_id": "22",
        "namespace_path": "team",
        "groups_direct": ["team", "team/builders"],
        "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
    },
    "kubernetes": {
        "sub": "system:serviceaccount:ci:builder",
        "kubernetes.io": {
            "namespace": "ci",
            "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": "build-1", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "builder", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
    },
}
"""What the tokens of these say of their holder."""


@cache
def private_key(kid: str) -> Any:
    """The key pair of that id: it begins with the algorithm."""
    if kid.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if kid.startswith("Ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"256": ec.SECP256R1, "384": ec.SECP384R1, "512": ec.SECP521R1}[kid[2:5]]())


def jwk(kid: str, /, **more: Any) -> dict[str, Any]:
    """Its public key as an entry of a JWK Set."""
    algorithm = get_default_algorithms()[kid.partition("-")[0]]
    entry: dict[str, Any] = algorithm.to_jwk(private_key(kid).public_key(), as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, "kid": kid, "use": "sig", **more}


def part(content: Any) -> str:
    """A part of a token."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class OidcIssuer:
    """Serves `documents` by their paths, or does what `behave` does in their place; `asked` are the paths asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.cut = threading.Event()
        self.release = threading.Event()
        self.behave: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.kid = ""
        self._port = 0
        self.start()
        self.documents: dict[str, Any] = {CONFIGURATION: {"issuer": self.url, "jwks_uri": self.url + KEYS}}
        self.rotate("RS256-1")

    @property
    def url(self) -> str:
        """What its tokens have as iss."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve, at the port of before."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rotate(self, *kids: str) -> None:
        """From now on it has these keys, and signs with the first."""
        self.kid = kids[0]
        self.documents[KEYS] = {"keys": [jwk(kid) for kid in kids]}

    def claims(self, kind: str, **other: Any) -> dict[str, Any]:
        """What a token of that kind says; what is None is left out."""
        now = int(time.time())
        times = {"iat": now, "nbf": now - 5, "exp": now + 300}
        said = {"iss": self.url, "aud": AUDIENCE, "jti": "7f3a", **times, **NAMES[kind], **other}
        return {claim: value for claim, value in said.items() if value is not None}

    def token(self, kind: str = "github", kid: str = "", headers: dict[str, Any] | None = None, **other: Any) -> str:
        """A signed token."""
        kid = kid or self.kid
        algorithm = kid.partition("-")[0]
        return jwt.encode(self.claims(kind, **other), private_key(kid), algorithm, {"kid": kid, **(headers or {})})

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer."""
        self.asked.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.behave is not None:
            with suppress(ConnectionError):
                self.behave(request)
            return
        found = self.documents.get(request.path)
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        request.send_response(404 if found is None else 200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def redirect(self, request: BaseHTTPRequestHandler) -> None:
        """Send whoever asks elsewhere."""
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.end_headers()

    def flood(self, request: BaseHTTPRequestHandler) -> None:
        """Send 10 MiB, and more as long as it is taken."""
        request.send_response(200)
        request.end_headers()
        try:
            while not self.release.is_set():
                request.wfile.write(bytes(65536))
        except ConnectionError:
            self.cut.set()

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """Say nothing, until whoever asks goes away."""
        self._wait(request)

    def drip(self, request: BaseHTTPRequestHandler) -> None:
        """Begin, and say no more."""
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"{")
        self._wait(request)

    def hold(self, request: BaseHTTPRequestHandler) -> None:
        """Answer rightly when released."""
        self.release.wait(30)
        self.behave = None
        self.asked.pop()
        self.serve(request)

    def _wait(self, request: BaseHTTPRequestHandler) -> None:
        request.connection.settimeout(30)
        try:
            gone = request.connection.recv(1) == b""
        except OSError:
            gone = True
        if gone:
            self.cut.set()


async def administrator(database: Database) -> None:
    """Let somebody be there who administers all."""
    user = await users.create(database, "admin", "no hash", [])
    assert user is not None
    await grants.create(database, "user", user.id, None, "*", ["admin"], "system")


@contextmanager
def running() -> Iterator[OidcIssuer]:
    """An issuer for a test."""
    issuer = OidcIssuer()
    yield issuer
    issuer.behave = None
    issuer.stop()
