"""Settings of a remote repo: checked, followed, and silent about passwords."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from artifactapi.service import Config
from tests.client import OCI_INDEX, OCI_MANIFEST, Client, digest_of
from tests.remote.conftest import as_json
from tests.remote.shelf import APP, LAYER, Shelf, image
from tests.upstream.scripted import Scripted, answer, answer_json, basic, behind, tokens, wants_bearer

PASSWORD = "correct horse battery staple"
V1 = f"/v2/hub/{APP}/manifests/v1"
WRONG = [
    ("upstream", None),
    ("upstream", 5),
    ("upstream", ""),
    ("upstream", "registry.example.org"),
    ("upstream", "ftp://registry.example.org"),
    ("upstream", "https://user:password@registry.example.org"),
    ("upstream", "https://registry.example.org/?a=b"),
    ("upstream", "https://registry.example.org\r\nHost: x"),
    ("prefix", "../"),
    ("prefix", "Library/"),
    ("prefix", "a?b"),
    ("username", "a:b"),
    ("username", "a\r\nb"),
    ("username", ""),
    ("password_secret", "../secret"),
    ("password_secret", "a/b"),
    ("password_secret", "/etc/passwd"),
    ("password_secret", "."),
    ("password_secret", ".."),
    ("password_secret", "a\0b"),
    ("password_secret", "a\n"),
    ("password_secret", ""),
    ("password_secret", 5),
    ("realms", "auth.example.org"),
    ("realms", ["https://auth.example.org"]),
    ("tag_ttl", -1),
    ("tag_ttl", 1.5),
    ("tag_ttl", True),
    ("tag_ttl", "300"),
    ("negative_ttl", 86_401),
    ("max_stale", -1),
    ("backoff", 0),
    ("timeout", 0),
    ("connect_timeout", 301),
    ("images", ["*"]),
    ("images", {"allowed": ["*"]}),
    ("images", {"allow": "*"}),
    ("images", {"allow": ["A B"]}),
    ("tags", {"deny": [5]}),
    ("tags", {"deny": ["a"] * 101}),
    ("cache_bytes", -1),
    ("cache_days", 0),
    ("unknown", 1),
]


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a directory of secrets."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hub").write_text(f"{PASSWORD}\n")
    return replace(config, secrets_dir=tmp_path / "secrets")


@pytest.mark.parametrize("name, value", WRONG)
async def test_wrong(client: Client, name: str, value: object):
    """A setting that cannot be is refused by its name, when a repo is made and when it is changed."""
    fields = {"name": "hub", "package_type": "docker", "repo_type": "remote"}
    settings = {"upstream": "https://registry.example.org", name: value}
    answered = await client.request("POST", "/api/v1/repos", as_json({**fields, "settings": settings}))
    assert (answered.status, [e["detail"]["field"] for e in answered.json["errors"]]) == (400, [f"settings.{name}"])
    settings = {"upstream": "https://registry.example.org"}
    answered = await client.request("POST", "/api/v1/repos", as_json({**fields, "settings": settings}))
    assert answered.status == 201
    answered = await client.request("PATCH", "/api/v1/repos/hub", as_json({"settings": {name: value}}))
    assert (answered.status, [e["detail"]["field"] for e in answered.json["errors"]]) == (400, [f"settings.{name}"])
    assert (await client.get("/api/v1/repos/hub")).json["settings"] == settings


async def test_basic(client: Client, remote, shelf: Shelf, service):
    """The password in the file is what the upstream gets, and nobody else sees it."""
    shelf.manifest(image())
    reply = answer(200, image(), content_type="application/vnd.oci.image.manifest.v1+json")
    denied = answer(401, www_authenticate='Basic realm="x"')
    shelf.tag("v1", behind(basic("robot", PASSWORD), reply, denied))
    await remote(username="robot", password_secret="hub")
    assert (await client.get(V1)).status == 200
    shown = await client.get("/api/v1/repos/hub")
    assert shown.json["settings"]["password_secret"] == "hub"
    assert PASSWORD.encode() not in shown.body
    assert PASSWORD.encode() not in (await client.get("/api/v1/audit")).body


async def test_bearer(client: Client, remote, shelf: Shelf):
    """A token is fetched once, and shown for manifests and blobs of the image."""
    url = shelf.scripted.url
    shelf.scripted.on("GET /token", *tokens("t1"))
    digest = shelf.blob()
    for pattern, reply in (
        ("/v2/team/app/manifests/v1", answer(200, image())),
        ("/v2/team/app/blobs/", answer(200, LAYER)),
    ):
        shelf.scripted.on(pattern, behind("Bearer t1", reply, wants_bearer(f"{url}/token")))
    await remote(username="robot", password_secret="hub")
    assert (await client.get(V1)).status == 200
    assert (await client.get(f"/v2/hub/{APP}/blobs/{digest}")).body == LAYER
    asked = [seen for seen in shelf.scripted.seen if seen.path == "/token"]
    assert [seen.authorization for seen in asked] == [basic("robot", PASSWORD)]


@pytest.mark.parametrize("secret", ["missing", "binary"])
async def test_no_secret(client: Client, remote, shelf: Shelf, tmp_path: Path, lines: list[str], secret: str):
    """A secret that cannot be read is an error, the log says which one, and the upstream is not asked without it."""
    (tmp_path / "secrets" / "binary").write_bytes(b"\xff\xfe")
    shelf.manifest(image())
    await remote(username="robot", password_secret=secret)
    answered = await client.get(V1)
    assert (answered.status, answered.code) == (502, "UPSTREAM_UNAVAILABLE")
    assert secret.encode() not in answered.body
    assert str(tmp_path).encode() not in answered.body
    assert (await client.get(V1)).status == 502
    assert len([line for line in lines if f"secret {secret}" in line]) == 1
    assert shelf.scripted.seen == []
    (tmp_path / "secrets" / secret).write_text(PASSWORD)
    assert (await client.get(V1)).status == 200


async def test_no_secret_any_more(client: Client, remote, shelf: Shelf, later, tmp_path: Path):
    """Without its secret an upstream is as one that is down: what is known is served."""
    shelf.manifest(image())
    await remote(username="robot", password_secret="hub")
    await client.get(V1)
    (tmp_path / "secrets" / "hub").unlink()
    await remote(description="so that it is read again")
    later(301)
    answered = await client.get(V1)
    assert (answered.status, answered.headers["X-Artifact-Source"]) == (200, "stale")


async def test_another_upstream(client: Client, remote, shelf: Shelf, elsewhere: Scripted):
    """When the upstream is changed, what the old one said of tags and referrers counts no more."""
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(image(5)), "size": 1}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    shelf.manifest(image(1))
    shelf.scripted.on("referrers", answer_json(200, index))
    await remote()
    referrers = f"/v2/hub/{APP}/referrers/{digest_of(image(1))}"
    assert (await client.get(V1)).body == image(1)
    assert (await client.get(referrers)).json["manifests"] == [entry]
    other = Shelf(elsewhere)
    other.manifest(image(2))
    await remote(upstream=elsewhere.url)
    assert (await client.get(V1)).body == image(2)
    assert (await client.get(referrers)).json["manifests"] == []
    await remote(upstream=shelf.scripted.url)
    shelf.tag("v1", answer(503))
    assert (await client.get(V1)).status == 502


async def test_denied_later(client: Client, remote, shelf: Shelf):
    """What is here already is not served either, when patterns do not allow it any more."""
    manifest, blob = shelf.manifest(image()), shelf.blob()
    await remote()
    paths = [V1, f"/v2/hub/{APP}/manifests/{manifest}", f"/v2/hub/{APP}/blobs/{blob}"]
    for path in paths:
        assert (await client.get(path)).status == 200
    await remote(images={"deny": [APP]})
    assert [(await client.get(path)).status for path in paths] == [404] * 3
    await remote(images=None, tags={"deny": ["v1"]})
    assert [(await client.get(path)).status for path in paths] == [404, 200, 200]
    shelf.scripted.on("tags/list", answer(503))
    assert (await client.get(f"/v2/hub/{APP}/tags/list")).json["tags"] == []


async def test_denied_with_the_old_secret(client: Client, remote, shelf: Shelf, tmp_path: Path):
    """A password that was changed in the file is the new one as soon as the upstream does not take the old one."""
    denied = answer(401, www_authenticate='Basic realm="x"')
    shelf.tag("v1", behind(basic("robot", "new"), answer(200, image()), denied))
    await remote(username="robot", password_secret="hub")
    assert (await client.get(V1)).status == 403
    (tmp_path / "secrets" / "hub").write_text("new")
    assert (await client.get(V1)).status == 200


async def test_allowed(client: Client, remote, shelf: Shelf):
    """Images and tags that are denied, or not allowed, are unknown here; the upstream is not asked."""
    for name in ("team/app", "team/secret", "other/app"):
        for tag in ("v1", "latest"):
            shelf.manifest(image(), tag, name=name)
    shelf.blob()
    await remote(images={"allow": ["team/*"], "deny": ["team/secret"]}, tags={"deny": ["latest"]})
    assert (await client.get(V1)).status == 200
    for path in (
        "/v2/hub/team/secret/manifests/v1",
        "/v2/hub/other/app/manifests/v1",
        "/v2/hub/team/app/manifests/latest",
        f"/v2/hub/team/secret/blobs/sha256:{'0' * 64}",
        "/v2/hub/team/secret/tags/list",
    ):
        assert (await client.get(path)).status == 404, path
    referrers = await client.get(f"/v2/hub/team/secret/referrers/sha256:{'0' * 64}")
    assert referrers.json["manifests"] == []
    assert len(shelf.scripted.seen) == 1
    shelf.scripted.on("tags/list", answer(200, b'{"tags":["latest","v1"]}'))
    assert (await client.get("/v2/hub/team/app/tags/list")).json["tags"] == ["v1"]


async def test_changed(client: Client, remote, shelf: Shelf):
    """New settings count at once."""
    shelf.manifest(image(), name="mirror/team/app")
    await remote()
    assert (await client.get(V1)).status == 404
    await remote(upstream=f"{shelf.scripted.url}/v2/mirror/..", images={"deny": ["team/app"]})
    assert (await client.get(V1)).status == 404
    assert len(shelf.scripted.seen) == 1


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest=sha256:{'0' * 64}"),
        ("POST", f"blobs/uploads/?mount=sha256:{'0' * 64}&from=other/app"),
        ("PUT", "manifests/v1"),
        ("DELETE", "manifests/v1"),
        ("DELETE", f"manifests/sha256:{'0' * 64}"),
        ("DELETE", f"blobs/sha256:{'0' * 64}"),
    ],
)
async def test_writes(client: Client, remote, shelf: Shelf, method: str, path: str):
    """A remote repo takes no writes; 405, and the upstream hears nothing of it."""
    await remote()
    body = image() if method == "PUT" else None
    headers = {"content_type": "application/vnd.oci.image.manifest.v1+json"} if body else {}
    answered = await client.request(method, f"/v2/hub/{APP}/{path}", body, **headers)
    assert (answered.status, answered.code) == (405, "UNSUPPORTED")
    assert shelf.scripted.seen == []


async def test_a_refusal_is_logged(client: Client, remote, shelf: Shelf, lines: list[str]):
    """Why an upstream refuses something is in the log, once, and not in the answer."""
    shelf.tag("v1", answer(403))
    shelf.tag("v2", answer(403))
    await remote()
    for tag in ("v1", "v2"):
        assert (await client.get(f"/v2/hub/{APP}/manifests/{tag}")).code == "DENIED"
    assert [line for line in lines if "upstream of" in line] == ["upstream of hub: the upstream does not let us"]
