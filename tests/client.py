"""An HTTP/1.1 client that does exactly what it is told, malformed requests too; blocking, run in a thread."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

Body = bytes | Iterable[bytes] | None
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first OCI error."""
        return str(self.json["errors"][0]["code"])


class Client:
    """Requests to one registry, each on a connection of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def send(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, blocking. An iterable body is sent with Transfer-Encoding: chunked."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def request(self, method: str, path: str, body: Body = None, **headers: str) -> Deferred[Answer]:
        """The same in a thread, while the reactor serves it; `content_type=` becomes Content-Type."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return deferToThread(self.send, method, path, body, named)

    def get(self, path: str, **headers: str) -> Deferred[Answer]:
        """GET."""
        return self.request("GET", path, **headers)

    def connect(self) -> socket.socket:
        """A bare connection, for what http.client refuses to send."""
        return socket.create_connection((self.host, self.port), timeout=30)

    def raw(self, data: bytes, finish: bool = False) -> bytes:
        """Send bytes, and return all that comes until the server closes, or 5 s of silence; blocking."""
        with self.connect() as connection:
            connection.settimeout(5)
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while more := connection.recv(65536):
                    received += more
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    async def push_blob(self, name: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob in one POST; its digest."""
        digest = digest_of(content, algorithm)
        answer = await self.request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer.body
        return digest

    async def push_image(self, name: str, tag: str | None, *layers: bytes, **fields: Any) -> tuple[str, bytes]:
        """Push an image of these layers; its digest and its manifest. `fields` go into the manifest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "layers": len(layers)}).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": await self._descriptor(name, config, "application/vnd.oci.image.config.v1+json"),
                "layers": [
                    await self._descriptor(name, layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers
                ],
                **fields,
            }
        ).encode()
        digest = digest_of(manifest)
        answer = await self.put_manifest(name, tag or digest, manifest)
        assert answer.status == 201, answer.body
        return digest, manifest

    def put_manifest(
        self, name: str, reference: str, content: bytes, media_type: str = OCI_MANIFEST
    ) -> Deferred[Answer]:
        """PUT a manifest."""
        return self.request("PUT", f"/v2/{name}/manifests/{reference}", content, content_type=media_type)

    async def _descriptor(self, name: str, content: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": await self.push_blob(name, content), "size": len(content)}


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest, as hashlib has it."""
    return f"{algorithm}:{(sha256 if algorithm == 'sha256' else sha512)(content).hexdigest()}"
