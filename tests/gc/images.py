"""Images to be collected, or not."""

from __future__ import annotations

import json

from artifactapi.oci.digest import Digest, digest_of
from artifactapi.oci.errors import BlobUnknown, ManifestUnknown
from artifactapi.oci.manifest import OCI_INDEX, OCI_MANIFEST
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry.registry import Registry
from tests.registry.bodies import NAME, push


def descriptor(content: bytes, media_type: str = "application/octet-stream") -> dict:
    """What a manifest says of content."""
    return {"mediaType": media_type, "digest": str(digest_of(content)), "size": len(content)}


def manifest(config: bytes, *layers: bytes, subject: bytes | None = None) -> bytes:
    """A manifest that names these."""
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer) for layer in layers],
    }
    return json.dumps(made | ({"subject": descriptor(subject, OCI_MANIFEST)} if subject else {})).encode()


def index(*manifests: bytes) -> bytes:
    """An index of these."""
    children = [descriptor(child, OCI_MANIFEST) for child in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()


async def put(registry: Registry, content: bytes, tag: str | None = None, name: ImageName = NAME) -> Digest:
    """Push a manifest whose blobs are there."""
    reference = Tag(tag) if tag else digest_of(content)
    digest, _ = await registry.manifests.put(name, reference, content, None, [])
    return digest


async def push_image(
    registry: Registry, *layers: bytes, tag: str | None = "v1", name: ImageName = NAME
) -> tuple[Digest, list[Digest]]:
    """An image with these layers, the first of which is its config; its digest and theirs."""
    blobs = [await push(registry, layer, name) for layer in layers]
    return await put(registry, manifest(*layers), tag, name), blobs


async def has_blob(registry: Registry, digest: Digest, name: ImageName = NAME) -> bool:
    """Whether the image has the blob; asking promises nothing."""
    try:
        await registry.blobs.find(name, digest)
    except BlobUnknown:
        return False
    return True


async def has_manifest(registry: Registry, digest: Digest, name: ImageName = NAME) -> bool:
    """Whether the image has the manifest."""
    try:
        await registry.manifests.get(name, digest)
    except ManifestUnknown:
        return False
    return True
