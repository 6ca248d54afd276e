"""The errors for what an image does not have: the same, whichever kind of repo it is in."""

from __future__ import annotations

from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import BlobUnknown, ManifestUnknown
from artifactapi.oci.names import Tag


def manifest(reference: Digest | Tag) -> ManifestUnknown:
    """No such manifest, or tag."""
    return ManifestUnknown("manifest unknown to this image", {"reference": str(reference)})


def blob(digest: Digest) -> BlobUnknown:
    """No such blob."""
    return BlobUnknown("blob unknown to this image", {"digest": str(digest)})
