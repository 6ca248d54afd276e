"""/healthz, /readyz, /metrics and the request log."""

from __future__ import annotations

import io
import json
import os
import re

import pytest
from twisted.logger import globalLogPublisher

from artifactapi.logs import json_observer, text_observer
from artifactapi.oci.errors import Unavailable
from tests.client import Client

NAME = "docker-internal/team/app"


@pytest.fixture
def logged():
    """The log of the test, as text and as JSON."""
    text, lines = io.StringIO(), io.StringIO()
    observers = [text_observer(text), json_observer(lines)]
    for observer in observers:
        globalLogPublisher.addObserver(observer)
    yield text, lines
    for observer in observers:
        globalLogPublisher.removeObserver(observer)


async def test_alive(client: Client):
    """/healthz answers as long as the process does."""
    answer = await client.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_ready(client: Client):
    """/readyz names what it depends on."""
    answer = await client.get("/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ok", "database": "ok", "store": "ok"})


async def test_not_ready_without_the_database(client: Client, service, monkeypatch):
    """When the database does not answer, /readyz is 503 and says so; /healthz is not concerned; requests are 503."""
    database = service.registry.uploads._database
    await database.stop()
    answer = await client.get("/readyz")
    assert (answer.status, answer.json["store"]) == (503, "ok")
    assert answer.json["database"] != "ok"
    assert (await client.get("/healthz")).status == 200
    refused = await client.get(f"/v2/{NAME}/manifests/v1")
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")


async def test_not_ready_without_the_store(client: Client, service):
    """When the store takes no bytes, /readyz is 503 and says so, without a path."""
    staging = service.config.data_dir / "staging"
    staging.rename(service.config.data_dir / "moved")
    answer = await client.get("/readyz")
    assert (answer.status, answer.json["database"]) == (503, "ok")
    assert answer.json["store"] != "ok"
    assert str(service.config.data_dir) not in answer.body.decode()
    (service.config.data_dir / "moved").rename(staging)
    assert (await client.get("/readyz")).status == 200


async def sample(client: Client, name: str) -> float:
    """The value of a metric, 0 if it is not there."""
    text = (await client.get("/metrics")).body.decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    "name, at_least",
    [
        ('artifactapi_request_seconds_count{method="POST",route="uploads",status="201"}', 3),
        ('artifactapi_request_seconds_count{method="PUT",route="manifest",status="201"}', 1),
        ('artifactapi_request_seconds_count{method="GET",route="manifest",status="404"}', 1),
        ("artifactapi_received_bytes_total", 500_000),
        ("artifactapi_sent_bytes_total", 500_000),
        ("artifactapi_upload_sessions", 1),
        ('artifactapi_database_connections{state="idle"}', 1),
        ('artifactapi_store_seconds_count{operation="commit",outcome="ok"}', 1),
        ('artifactapi_store_seconds_count{operation="write",outcome="ok"}', 1),
        ("artifactapi_requests_running", 1),
    ],
)
async def test_metrics(client: Client, name: str, at_least: float):
    """Each family moves with what it counts."""
    before = await sample(client, name) if "count" in name or "total" in name else 0
    layer = os.urandom(500_000)
    await client.push_image(NAME, "v1", layer, b"small")
    digest = await client.push_blob(NAME, layer)
    await client.get(f"/v2/{NAME}/blobs/{digest}")
    await client.get(f"/v2/{NAME}/manifests/absent")
    await client.request("POST", f"/v2/{NAME}/blobs/uploads/")
    assert await sample(client, name) - before >= at_least


async def test_labels_are_bounded(client: Client):
    """Neither a path nor a method of a client's making becomes a label."""
    await client.request("BREW", "/v2/coffee/pot/manifests/v1")
    await client.get("/some-odd-address")
    text = (await client.get("/metrics")).body.decode()
    assert "BREW" not in text
    assert "some-odd-address" not in text
    assert 'method="OTHER",route="manifest",status="405"' in text


async def test_the_request_log(client: Client, logged):
    """Each request is a line, as text and as JSON: what was asked, how it ended, how long it took, its id."""
    answer = await client.get(f"/v2/{NAME}/manifests/v1?x=secret", x_request_id="my-id_1.2")
    assert answer.headers["X-Request-Id"] == "my-id_1.2"
    text, lines = logged
    [line] = [each for each in text.getvalue().splitlines() if "my-id_1.2" in each]
    assert re.match(rf'\S+Z INFO 127\.0\.0\.1 "GET /v2/{NAME}/manifests/v1" 404 \d+ \d+\.\d{{4}}s my-id_1\.2$', line)
    [event] = [e for e in map(json.loads, lines.getvalue().splitlines()) if e.get("request_id") == "my-id_1.2"]
    assert (event["method"], event["status"], event["route"]) == ("GET", 404, "manifest")
    assert event["path"] == f"/v2/{NAME}/manifests/v1"
    assert event["sent"] == len(answer.body)
    assert "secret" not in text.getvalue()


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ä", '"', "a;b"])
async def test_an_odd_request_id_is_replaced(client: Client, given: str):
    """An id that is no plain token is not taken over."""
    answer = await client.get("/healthz", x_request_id=given)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


async def test_no_line_of_a_client_s_making(client: Client, logged):
    """A line break in an address stays within the line of its request."""
    await client.get("/v2/a%0d%0a2026-01-01%20INFO%20forged/tags/list")
    await client.get("/nothing%0aforged")
    assert not [line for line in logged[0].getvalue().splitlines() if "forged" in line and "127.0.0.1" not in line]


async def test_an_unexpected_error(client: Client, service, monkeypatch, logged):
    """A bug is 500 with the request's id for the client, and a traceback for the operator."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    from artifactapi.registry.tags import Tags

    monkeypatch.setattr(Tags, "listing", broken)
    answer = await client.get(f"/v2/{NAME}/tags/list")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert b"secret detail" not in answer.body
    assert answer.json["errors"][0]["detail"]["request"] == answer.headers["X-Request-Id"]
    assert "RuntimeError: a secret detail" in logged[0].getvalue()


async def test_what_is_unavailable_is_logged_in_a_line(client: Client, monkeypatch, logged):
    """A 503 is a warning with the request's id, without a traceback."""
    from artifactapi.registry.tags import Tags

    async def unavailable(*_: object) -> None:
        raise Unavailable("not now")

    monkeypatch.setattr(Tags, "listing", unavailable)
    answer = await client.get(f"/v2/{NAME}/tags/list", x_request_id="the-id")
    assert answer.status == 503
    assert "WARN request the-id: not now" in logged[0].getvalue()
    assert "Traceback" not in logged[0].getvalue()
