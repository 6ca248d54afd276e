"""Content that a registry has acknowledged, remembered so that it can be asked for again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from tests.client import OCI_INDEX, OCI_MANIFEST, Answer, Client, digest_of

NAME = "docker-internal/team/app"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
KIB, MIB = 1024, 1024 * 1024


class Refused(AssertionError):
    """A push was answered with another status than 201."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.body)
        self.status = answer.status


def accepted(answer: Answer) -> None:
    """Raise Refused if it was not."""
    if answer.status != 201:
        raise Refused(answer)


@dataclass
class Content:
    """What was answered with 201: blobs and manifests by digest, digests by tag."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def push_blob(self, client: Client, content: bytes) -> str:
        """A blob in one POST."""
        digest = digest_of(content)
        answer = client.send("POST", f"{UPLOADS}?digest={digest}", content)
        accepted(answer)
        self.blobs[digest] = content
        return digest

    def push_image(self, client: Client, tag: str, size: int) -> str:
        """An image of a small layer, one of `size` bytes and a config, under a tag."""
        config, layers = os.urandom(100), (os.urandom(1000), os.urandom(size))
        for blob in (config, *layers):
            self.push_blob(client, blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
        }
        return self.push_manifest(client, tag, manifest)

    def push_index(self, client: Client, tag: str, *children: str) -> str:
        """An index of manifests pushed before."""
        manifests = [descriptor(self.manifests[child], OCI_MANIFEST) for child in children]
        return self.push_manifest(client, tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})

    def push_manifest(self, client: Client, tag: str, manifest: dict) -> str:
        """A manifest under a tag; its digest."""
        content = json.dumps(manifest).encode()
        headers = {"Content-Type": manifest["mediaType"]}
        answer = client.send("PUT", f"/v2/{NAME}/manifests/{tag}", content, headers)
        accepted(answer)
        self.manifests[digest_of(content)] = content
        self.tags[tag] = digest_of(content)
        return digest_of(content)

    def check(self, client: Client) -> None:
        """All of it is there, byte for byte."""
        for digest, content in self.blobs.items():
            assert client.send("GET", f"/v2/{NAME}/blobs/{digest}").body == content
        for digest, content in self.manifests.items():
            assert client.send("GET", f"/v2/{NAME}/manifests/{digest}").body == content
        for tag, digest in self.tags.items():
            answer = client.send("GET", f"/v2/{NAME}/manifests/{tag}")
            assert (answer.body, answer.headers["Docker-Content-Digest"]) == (self.manifests[digest], digest)
        if self.tags:
            assert set(client.send("GET", f"/v2/{NAME}/tags/list").json["tags"]) >= set(self.tags)


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    """What a manifest says of a blob or of another manifest."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def some_content(client: Client) -> Content:
    """Two images, one with a layer that is a row and one with a layer that is a file, and an index of both."""
    content = Content()
    first, second = content.push_image(client, "v1", 3 * MIB), content.push_image(client, "v2", 10 * KIB)
    content.push_index(client, "latest", first, second)
    return content


def start_upload(client: Client) -> str:
    """A new session's location."""
    answer = client.send("POST", UPLOADS)
    assert answer.status == 202, answer.body
    return answer.headers["Location"]


def offset_of(client: Client, location: str) -> int:
    """How many bytes a session holds (two at least, since `0-0` is said of none and of one)."""
    answer = client.send("GET", location)
    assert answer.status == 204, answer.body
    return int(answer.headers["Range"].partition("-")[2]) + 1
