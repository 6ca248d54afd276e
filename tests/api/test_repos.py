"""/api/v1/repos."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.client import Answer, Client

REPOS = "/api/v1/repos"
NEW = {"name": "team-a", "package_type": "docker", "repo_type": "local"}


async def post(client: Client, fields: Any) -> Answer:
    return await client.request("POST", REPOS, json.dumps(fields).encode())


async def patch(client: Client, name: str, fields: Any) -> Answer:
    return await client.request("PATCH", f"{REPOS}/{name}", json.dumps(fields).encode())


def fields_of(answer: Answer) -> dict[str, str]:
    """The messages of a validation error by field."""
    return {entry["detail"]["field"]: entry["message"] for entry in answer.json["errors"]}


async def test_create_and_read(client: Client):
    """A new repo is shown as it was made, empty, with its times, where its Location says."""
    answer = await post(client, {**NEW, "settings": {"description": "Team ä", "allow_delete": None}})
    assert answer.status == 201
    assert answer.headers["Location"] == f"{REPOS}/team-a"
    shown = answer.json
    assert {key: shown[key] for key in NEW} == NEW
    assert shown["settings"] == {"description": "Team ä"}
    assert [shown[key] for key in ("images", "tags", "manifests", "blobs", "bytes")] == [0] * 5
    created = datetime.fromisoformat(shown["created_at"])
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=5)
    assert shown["updated_at"] == shown["created_at"]
    assert (await client.get(answer.headers["Location"])).json == shown
    assert (await client.request("HEAD", answer.headers["Location"])).status == 200
    assert await client.push_blob("team-a/app", b"x")


async def test_list(client: Client):
    """Repos are listed by name, page by page."""
    for name in ("a", "b", "c"):
        assert (await post(client, {**NEW, "name": name})).status == 201
    everything = (await client.get(REPOS)).json["repos"]
    names = [repo["name"] for repo in everything]
    assert names == ["a", "b", "c", "docker-internal", "other"]
    first = await client.get(f"{REPOS}?n=2")
    assert [repo["name"] for repo in first.json["repos"]] == names[:2]
    assert first.headers["Link"] == f'<{REPOS}?n=2&last=b>; rel="next"'
    rest = await client.get(f"{REPOS}?n=3&last=b")
    assert rest.json["repos"] == everything[2:]
    assert "Link" not in rest.headers
    assert (await client.get(f"{REPOS}?n=0")).json == {"repos": []}


async def test_counts(client: Client):
    """A repo counts what it holds; bytes are those of its blobs, each once, and of its manifests."""
    layer = os.urandom(100_000)
    await post(client, NEW)
    _, first = await client.push_image("team-a/x", "v1", layer)
    _, second = await client.push_image("team-a/y", "v1", layer, b"more")
    await client.push_image("docker-internal/z", "v1", b"elsewhere")
    shown = (await client.get(f"{REPOS}/team-a")).json
    assert [shown[key] for key in ("images", "tags", "manifests")] == [2, 2, 2]
    configs = [json.loads(manifest)["config"]["size"] for manifest in (first, second)]
    assert shown["blobs"] == 4
    assert shown["bytes"] == len(layer) + len(b"more") + sum(configs) + len(first) + len(second)


async def test_change(client: Client):
    """Settings that are given replace theirs, null takes one out, others stay; updated_at moves."""
    before = (await post(client, {**NEW, "settings": {"description": "x", "allow_delete": False}})).json
    answer = await patch(client, "team-a", {"settings": {"description": None}})
    assert (answer.status, answer.json["settings"]) == (200, {"allow_delete": False})
    assert answer.json["updated_at"] > before["updated_at"]
    assert answer.json["created_at"] == before["created_at"]
    same = await patch(client, "team-a", {"name": "team-a"})
    assert (same.status, same.json["settings"]) == (200, {"allow_delete": False})


async def test_delete_an_empty_one(client: Client):
    """An empty repo is deleted, and its name is free again."""
    await post(client, NEW)
    answer = await client.request("DELETE", f"{REPOS}/team-a")
    assert (answer.status, answer.body) == (204, b"")
    assert (await client.get(f"{REPOS}/team-a")).status == 404
    assert (await client.request("DELETE", f"{REPOS}/team-a")).code == "NAME_UNKNOWN"
    assert (await post(client, NEW)).status == 201


@pytest.mark.parametrize("holding", ["manifest", "blob", "upload"])
async def test_delete_one_that_is_not_empty(client: Client, holding: str):
    """A repo that holds anything is deleted only when that is asked for; then all it held is gone."""
    await post(client, NEW)
    if holding == "manifest":
        await client.push_image("team-a/app", "v1", b"layer")
    elif holding == "blob":
        await client.push_blob("team-a/app", b"x")
    else:
        await client.request("POST", "/v2/team-a/app/blobs/uploads/")
    for query in ("", "?force=false"):
        refused = await client.request("DELETE", f"{REPOS}/team-a{query}")
        assert (refused.status, refused.code) == (409, "REPO_NOT_EMPTY")
    assert (await client.request("DELETE", f"{REPOS}/team-a?force=true")).status == 204
    assert (await client.get("/v2/team-a/app/tags/list")).code == "NAME_UNKNOWN"


async def test_a_name_that_is_taken(client: Client):
    """A second repo of one name is 409."""
    answer = await post(client, {**NEW, "name": "docker-internal"})
    assert (answer.status, answer.code) == (409, "REPO_EXISTS")


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ({}, {"name", "package_type", "repo_type"}),
        ({**NEW, "name": "A/b"}, {"name"}),
        ({**NEW, "name": 7}, {"name"}),
        ({**NEW, "name": "a" * 101}, {"name"}),
        ({**NEW, "package_type": "npm"}, {"package_type"}),
        ({**NEW, "package_type": ["docker"]}, {"package_type"}),
        ({**NEW, "repo_type": "magic", "colour": 1}, {"repo_type", "colour"}),
        ({**NEW, "settings": []}, {"settings"}),
        ({**NEW, "settings": {"allow_delete": "no", "x": 1}}, {"settings.allow_delete", "settings.x"}),
        ({**NEW, "settings": {"description": "a\0b"}}, {"settings.description"}),
        ({**NEW, "settings": {"description": "\ud800"}}, {"settings.description"}),
        ({**NEW, "settings": {"description": "x" * 1001}}, {"settings.description"}),
        ([], {""}),
        ("x", {""}),
        (None, {""}),
    ],
)
async def test_invalid_fields(client: Client, fields: Any, wrong: set[str]):
    """Every field that is wrong has an error of its own, and nothing is made."""
    answer = await post(client, fields)
    assert answer.status == 400
    assert set(fields_of(answer)) == wrong
    assert len((await client.get(REPOS)).json["repos"]) == 2


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ({"name": "other-name"}, {"name"}),
        ({"package_type": "docker"}, {"package_type"}),
        ({"repo_type": "virtual"}, {"repo_type"}),
        ({"settings": {"x": 1}}, {"settings.x"}),
        ({"x": 1}, {"x"}),
        ([], {""}),
    ],
)
async def test_invalid_changes(client: Client, fields: Any, wrong: set[str]):
    """What cannot be changed is said field by field."""
    answer = await patch(client, "docker-internal", fields)
    assert (answer.status, set(fields_of(answer))) == (400, wrong)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body, status",
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b"9" * 5000, 400), (b" " * 1_048_577, 413)],
    ids=["empty", "cut", "binary", "deep", "number", "large"],
)
async def test_bodies_that_are_no_json(client: Client, method: str, body: bytes, status: int):
    """A body that is no JSON, or too large, is the client's error."""
    answer = await client.request(method, REPOS if method == "POST" else f"{REPOS}/docker-internal", body)
    assert answer.status == status
    assert answer.json["errors"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["nowhere", "A%20b", "%00", "%FF", "x" * 300])
async def test_unknown_repos(client: Client, method: str, name: str):
    """A repo that is not there, or could not be, is NAME_UNKNOWN."""
    answer = await client.request(method, f"{REPOS}/{name}", b'{"settings": {}}' if method == "PATCH" else None)
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


async def test_a_force_that_is_neither(client: Client):
    """force is true or false."""
    answer = await client.request("DELETE", f"{REPOS}/other?force=yes")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
