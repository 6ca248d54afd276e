"""Which member answers a pull from a virtual repo."""

from __future__ import annotations

import pytest

from artifactapi.service import Artifactapi
from tests.client import Client, digest_of
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream


async def digest(client: Client, path: str) -> str | int:
    """The digest of the answer, or the status of a failure."""
    answer = await client.get(f"/v2/{path}")
    return str(answer.headers["Docker-Content-Digest"]) if answer.status == 200 else answer.status


async def test_the_first_member_that_has_the_tag(client, repos: Admin):
    """Members are asked in their order: the first that has the tag says what it is, and others fill in."""
    mine, _ = await client.push_image("team/app", "v1", b"mine")
    theirs, _ = await client.push_image("lab/app", "v1", b"theirs")
    other, _ = await client.push_image("lab/app", "v2", b"only theirs")
    assert await digest(client, "virtual/app/manifests/v1") == mine
    assert await digest(client, "virtual/app/manifests/v2") == other
    await repos.change("virtual", members=["lab", "team"])
    assert await digest(client, "virtual/app/manifests/v1") == theirs


async def test_a_tag_of_an_upstream(client, repos, upstream: Upstream):
    """What no local member has comes from the upstream, and then from here."""
    there = upstream.add_image("library/app", "v1", layer=b"layer")
    answer = await client.get("/v2/virtual/library/app/manifests/v1")
    assert (answer.status, answer.headers["X-Artifact-Source"]) == (200, "miss")
    assert answer.headers["Docker-Content-Digest"] == there
    layer = await client.get(f"/v2/virtual/library/app/blobs/{digest_of(b'layer')}")
    assert (layer.status, layer.body) == (200, b"layer")
    again = await client.get(f"/v2/virtual/library/app/manifests/{there}")
    assert (again.status, again.headers["X-Artifact-Source"]) == (200, "hit")


@pytest.mark.parametrize("members", [["team", "hub"], ["hub", "team"]], ids=["first", "last"])
async def test_a_claimed_name(client, repos: Admin, upstream: Upstream, members):
    """An image that a local member has is never asked upstream by a tag, for its tags or its referrers: wherever the
    member stands, and though the upstream has what is asked for."""
    await repos.change("virtual", members=members)
    mine, _ = await client.push_image("team/app", "v1", b"mine")
    upstream.add_image("app", "v1", "v2", layer=b"planted")
    assert await digest(client, "virtual/app/manifests/v1") == mine
    assert await digest(client, "virtual/app/manifests/v2") == 404
    assert (await client.get("/v2/virtual/app/tags/list")).json["tags"] == ["v1"]
    assert (await client.get(f"/v2/virtual/app/referrers/{mine}")).json["manifests"] == []
    assert upstream.asked == []


async def test_a_claim_ends_with_the_image(client, repos: Admin, upstream: Upstream):
    """When the local member has no manifest of the image any more, the upstream is asked again."""
    mine, _ = await client.push_image("team/app", "v1", b"mine")
    there = upstream.add_image("app", "v1", layer=b"theirs")
    assert (await client.request("DELETE", f"/v2/team/app/manifests/{mine}")).status == 202
    assert await digest(client, "virtual/app/manifests/v1") == there


async def test_a_digest_anywhere(client, repos: Admin, upstream: Upstream):
    """A digest cannot be mistaken: any member's will do, a claimed name or not."""
    await client.push_image("team/app", "v1", b"mine")
    lab, _ = await client.push_image("lab/app", "v1", b"lab's")
    there = upstream.add_image("app", "v1", layer=b"theirs")
    assert await digest(client, f"virtual/app/manifests/{lab}") == lab
    assert await digest(client, f"virtual/app/manifests/{there}") == there
    assert await digest(client, f"virtual/app/blobs/{digest_of(b'theirs')}") == digest_of(b"theirs")
    assert (await client.get(f"/v2/virtual/app/blobs/{digest_of(b'nowhere')}")).code == "BLOB_UNKNOWN"


async def test_what_is_here_is_not_asked_upstream(client, repos: Admin, upstream: Upstream):
    """A digest that a later member has here costs no request to an earlier one's upstream."""
    await repos.change("virtual", members=["hub", "team"])
    mine, _ = await client.push_image("team/app", "v1", b"mine")
    upstream.status = 500
    assert await digest(client, f"virtual/app/manifests/{mine}") == mine
    assert await digest(client, f"virtual/app/blobs/{digest_of(b'mine')}") == digest_of(b"mine")
    assert upstream.asked == []


async def test_an_upstream_that_is_down(client, repos: Admin, upstream: Upstream):
    """Its failure ends the search for a tag, as the next member's may be another image; a digest is looked for on."""
    other = Upstream()
    there = other.add_image("app", "v1", layer=b"another one")
    try:
        await repos.create("mirror", "remote", upstream=other.url)
        await repos.change("virtual", members=["hub", "mirror"])
        upstream.status = 503
        assert await digest(client, "virtual/app/manifests/v1") == 502
        assert other.asked == []
        assert await digest(client, f"virtual/app/manifests/{there}") == there
        assert await digest(client, f"virtual/app/blobs/{digest_of(b'another one')}") == digest_of(b"another one")
        assert await digest(client, f"virtual/app/manifests/{digest_of(b'nowhere')}") == 502
    finally:
        await other.close()


async def test_patterns(client, repos: Admin, upstream: Upstream):
    """A member is asked for the images that its patterns allow and do not deny, whatever the reference."""
    upstream.add_image("library/app", "v1", layer=b"app")
    secret = upstream.add_image("library/secret", "v1", layer=b"secret")
    await repos.change("virtual", members=["team", {"repo": "hub", "allow": ["library/*"], "deny": ["*/secret"]}])
    assert isinstance(await digest(client, "virtual/library/app/manifests/v1"), str)
    before = len(upstream.asked)
    for path in ("library/secret/manifests/v1", f"library/secret/manifests/{secret}", "library/secret/tags/list"):
        assert await digest(client, f"virtual/{path}") == 404
    assert await digest(client, f"virtual/library/secret/blobs/{digest_of(b'secret')}") == 404
    assert await digest(client, "virtual/team/app/manifests/v1") == 404
    assert len(upstream.asked) == before


async def test_a_denied_member_claims_nothing(client, repos: Admin, upstream: Upstream):
    """A local member that is not asked for an image does not keep its name from others."""
    await client.push_image("team/app", "v1", b"mine")
    there = upstream.add_image("app", "v1", layer=b"theirs")
    await repos.change("virtual", members=[{"repo": "team", "deny": ["app"]}, "hub"])
    assert await digest(client, "virtual/app/manifests/v1") == there


async def test_a_promise(service: Artifactapi, client, repos, database):
    """HEAD of a blob keeps it in the member's image, though its grace has nearly passed."""
    blob = await client.push_blob("lab/app", b"promised")
    await database.query("UPDATE image_blobs SET idle_since = now() - interval '80000 seconds'")
    answer = await client.request("HEAD", f"/v2/virtual/app/blobs/{blob}")
    assert answer.status == 200
    [[idle]] = await database.query("SELECT extract(epoch FROM now() - idle_since)::float FROM image_blobs")
    assert idle < 1000


async def test_members_that_are_gone(client, repos: Admin):
    """A member that was deleted is skipped, and keeps nobody from changing other settings."""
    there, _ = await client.push_image("lab/app", "v1", b"mine")
    for name in ("team", "hub"):
        await repos.delete(name)
    assert await digest(client, "virtual/app/manifests/v1") == there
    await repos.change("virtual", description="members are gone", push_to="lab")
    await repos.change("virtual", push_to=None)


async def test_a_member_that_became_virtual(client, repos: Admin):
    """What it shows is not shown through another virtual repo."""
    there, _ = await client.push_image("lab/app", "v1", b"mine")
    await repos.change("virtual", members=["team"])
    await repos.delete("team")
    await repos.create("team", "virtual", members=["lab"])
    for path in ("manifests/v1", f"manifests/{there}", f"blobs/{digest_of(b'mine')}", "tags/list"):
        assert (await client.get(f"/v2/team/app/{path}")).status == 200
        assert (await client.get(f"/v2/virtual/app/{path}")).status == 404


async def test_other_members(client, repos: Admin, replica: Client):
    """A change of members counts at once where it was made, and in other replicas with the next pull."""
    await client.push_image("lab/app", "v1", b"mine")
    assert await digest(replica, "virtual/app/manifests/v1") != 404
    await repos.change("virtual", members=["team"])
    assert await digest(client, "virtual/app/manifests/v1") == 404
    assert await digest(replica, "virtual/app/manifests/v1") == 404
