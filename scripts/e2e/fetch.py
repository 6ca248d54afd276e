"""A registry's content through plain HTTP, checked: fetch.py HOST:PORT IMAGE REFERENCE DIRECTORY.

Leaves the manifests and blobs in the directory, each under its digest's hex, and prints the digest of the first.
"""

import hashlib
import json
import pathlib
import sys
import urllib.request

from login import headers

registry, image, reference, directory = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
kinds = (
    "oci.image.manifest.v1",
    "oci.image.index.v1",
    "docker.distribution.manifest.v2",
    "docker.distribution.manifest.list.v2",
)
accept = ", ".join(f"application/vnd.{kind}+json" for kind in kinds)


def get(path: str, digest: str | None = None, size: int | None = None) -> bytes:
    request = urllib.request.Request(f"http://{registry}/v2/{image}/{path}", headers={"Accept": accept, **headers})
    data = opener.open(request, timeout=60).read()
    found = hashlib.sha256(data).hexdigest()
    assert digest in (None, f"sha256:{found}"), f"{path} has the digest {found}"
    assert size in (None, len(data)), f"{path} has {len(data)} bytes, not {size}"
    pathlib.Path(directory, found).write_bytes(data)
    return data


def walk(data: bytes) -> None:
    manifest = json.loads(data)
    for child in manifest.get("manifests", []):
        walk(get(f"manifests/{child['digest']}", child["digest"], child["size"]))
    for blob in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
        get(f"blobs/{blob['digest']}", blob["digest"], blob["size"])


pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
top = get(f"manifests/{reference}")
walk(top)
print("sha256:" + hashlib.sha256(top).hexdigest())
