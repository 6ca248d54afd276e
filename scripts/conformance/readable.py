"""What can be read of an image, as the suite wants to be told: readable.py HOST:PORT IMAGE.

Prints as OCI_RO_DATA_… its tags and all that they lead to: manifests, their children, what refers to them, blobs.
The digests are those of the bytes that came: where the lines are equal, so are the manifests. Fails if a line is empty.
"""

import hashlib
import json
import sys
import urllib.request

registry, image = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
accept = ", ".join(f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
blobs: set[str] = set()
manifests: set[str] = set()
subjects: set[str] = set()


def get(path: str) -> tuple[bytes, str]:
    """The body, and its digest by the algorithm that the registry names."""
    request = urllib.request.Request(f"http://{registry}/v2/{image}/{path}", headers={"Accept": accept})
    with opener.open(request, timeout=60) as answer:
        content = answer.read()
        algorithm = answer.headers.get("Docker-Content-Digest", "sha256:").partition(":")[0]
    return content, f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def walk(reference: str) -> None:
    content, digest = get(f"manifests/{reference}")
    if digest in manifests:
        return
    manifests.add(digest)
    manifest = json.loads(content)
    parts = [manifest["config"], *manifest["layers"]] if "config" in manifest else []
    blobs.update(part["digest"] for part in parts if "nondistributable" not in part["mediaType"])
    referrers = json.loads(get(f"referrers/{digest}")[0])["manifests"]
    if referrers:
        subjects.add(digest)
    for child in [*manifest.get("manifests", []), *referrers]:
        walk(child["digest"])


tags = json.loads(get("tags/list")[0])["tags"]
for tag in tags:
    walk(tag)
for kind, found in {"TAGS": tags, "MANIFESTS": manifests, "BLOBS": blobs, "REFERRERS": subjects}.items():
    assert found, f"{image} has no {kind.lower()}"
    print(f"OCI_RO_DATA_{kind}={' '.join(sorted(found))}")
