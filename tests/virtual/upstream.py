"""A registry that a remote repo fetches from: it has what it is given, notes what it is asked, and fails when told."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.client import OCI_MANIFEST, digest_of


class Upstream(Resource):
    """`asked`: the method and the path below /v2/ of each request. `status`: what it fails with, 0: with nothing."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []
        self.status = 0
        self._content: dict[str, tuple[str, bytes]] = {}
        self._tags: dict[str, list[str]] = {}
        self._referrers: dict[str, list[dict[str, Any]]] = {}
        self._port: Any = reactor.listenTCP(0, Site(self), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    def close(self) -> Any:
        """Serve no more."""
        return self._port.stopListening()

    def add_image(self, name: str, *tags: str, layer: bytes = b"of the upstream", **fields: Any) -> str:
        """An image of that layer; its manifest's digest."""
        config = b'{"architecture":"amd64","os":"linux"}'
        blobs = [(config, "application/vnd.oci.image.config.v1+json"), (layer, "application/octet-stream")]
        for content, media_type in blobs:
            self._content[f"{name}/blobs/{digest_of(content)}"] = media_type, content
        shown = [{"mediaType": m, "digest": digest_of(c), "size": len(c)} for c, m in blobs]
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": shown[0], "layers": shown[1:], **fields}
        content = json.dumps(manifest).encode()
        for reference in (*tags, digest_of(content)):
            self._content[f"{name}/manifests/{reference}"] = OCI_MANIFEST, content
        self._tags.setdefault(name, []).extend(tags)
        if "subject" in fields:
            entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(content), "size": len(content)}
            self._referrers.setdefault(f"{name}/referrers/{fields['subject']['digest']}", []).append(entry)
        return digest_of(content)

    def add_blob(self, name: str, content: bytes) -> str:
        """A blob's digest."""
        self._content[f"{name}/blobs/{digest_of(content)}"] = "application/octet-stream", content
        return digest_of(content)

    def render(self, request: Any) -> bytes:
        """Any request."""
        path = unquote(request.path.decode()).removeprefix("/v2/")
        self.asked.append((request.method.decode(), path))
        media_type, content = self._found(path, request)
        request.setResponseCode(self.status or (200 if media_type else 404))
        if self.status or not media_type:
            return b'{"errors": []}'
        request.setHeader("content-type", media_type)
        request.setHeader("content-length", str(len(content)))
        if "/manifests/" in path or "/blobs/" in path:
            request.setHeader("docker-content-digest", digest_of(content))
        return content

    def _found(self, path: str, request: Any) -> tuple[str, bytes]:
        name, _, rest = path.partition("/tags/")
        if rest == "list" and name in self._tags:
            last = request.args.get(b"last", [b""])[0].decode()
            count = int(request.args.get(b"n", [b"10000"])[0])
            tags = [tag for tag in sorted(self._tags[name]) if tag > last]
            if len(tags) > count:
                request.setHeader("link", f'</v2/{path}?n={count}&last={tags[count - 1]}>; rel="next"')
            return "application/json", json.dumps({"name": name, "tags": tags[:count]}).encode()
        if "/referrers/" in path:
            index = {"schemaVersion": 2, "manifests": self._referrers.get(path, [])}
            return "application/vnd.oci.image.index.v1+json", json.dumps(index).encode()
        return self._content.get(path, ("", b""))
