"""Images of a scripted upstream."""

from __future__ import annotations

import json
from random import Random

from tests.client import OCI_MANIFEST, digest_of
from tests.upstream.scripted import Reply, Scripted, answer, partly

APP = "team/app"
LAYER = Random(7).randbytes(1_500_000)


class Shelf:
    """What it has, and how often it was asked for it."""

    def __init__(self, scripted: Scripted) -> None:
        self.scripted = scripted

    def blob(self, content: bytes = LAYER, *replies: Reply, name: str = APP) -> str:
        """A blob, which is answered like this to GET; its digest."""
        digest = digest_of(content)
        self.scripted.on(f"HEAD /v2/{name}/blobs/{digest}$", answer(200, content))
        self.scripted.on(f"GET /v2/{name}/blobs/{digest}$", *(replies or (partly(content),)))
        return digest

    def manifest(self, content: bytes, tag: str = "v1", media_type: str = OCI_MANIFEST, name: str = APP) -> str:
        """A manifest with that tag; its digest."""
        digest = digest_of(content)
        reply = answer(200, content, content_type=media_type, docker_content_digest=digest)
        self.scripted.on(f"(GET|HEAD) /v2/{name}/manifests/({tag}|{digest})$", reply)
        return digest

    def tag(self, tag: str, *replies: Reply, name: str = APP) -> None:
        """Answer like this when asked for the tag."""
        self.scripted.on(f"(GET|HEAD) /v2/{name}/manifests/{tag}$", *replies)

    def asked(self, part: str) -> list[str]:
        """The methods of the requests whose address has that part."""
        return [seen.method for seen in self.scripted.seen if part in seen.target]


def image(number: int = 0, **fields: object) -> bytes:
    """A manifest, each number another one."""
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest_of(b"%d" % number),
        "size": 1,
    }
    # Its bytes are unlike any that we would write ourselves.
    return json.dumps(
        {"config": config, "layers": [], "mediaType": OCI_MANIFEST, **fields, "schemaVersion": 2}, indent=3
    ).encode()
