"""No secret shows up where it was not asked for: not in a log, an error, the audit, the metrics, the process list."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from twisted.internet.threads import deferToThread

from tests.access.people import API, FORM, Administrator, Person, basic
from tests.client import Client
from tests.daemon import Daemon, url_of

ADMIN, OTHER, FRESH = "Xq7-admin-password", "Xq7-other-password", "Xq7-fresh-password"
WRONG = "Xq7-wrong-password"
IMAGE = "docker-internal/app"


@pytest.fixture
def _cheap_hashes() -> None:
    """Nothing is cheap here: the daemon is a process of its own."""


@pytest.fixture(params=["text", "json"])
def serving(request: pytest.FixtureRequest, daemon: Daemon, dsn: str, tmp_path: Path) -> Client:
    """A client of a daemon with a password file, which runs as a process of its own."""
    file = tmp_path / "password-file"
    file.write_text(ADMIN)
    return daemon.start(
        f"--database-url={url_of(dsn)}", f"--admin-password-file={file}", f"--log-format={request.param}"
    )


def everywhere(secret: str) -> list[bytes]:
    """Requests with a secret wherever somebody might put it by mistake."""
    text = quote(secret, safe="")
    encoded = base64.b64encode(f"alice:{secret}".encode()).decode()
    lines = [
        f"Authorization: Basic {encoded}",
        f"Authorization: Basic {encoded[:-1]}",
        f"Authorization: Basic alice:{secret}",
        f"Authorization: Bearer {secret}",
        f"Authorization: Bearer a.{secret}.c",
        f"Authorization: {secret}",
        f"Authorization: {secret} {secret}",
        f"Authorization: Token token={secret}",
        f"Proxy-Authorization: Basic {encoded}",
        f"Cookie: token={secret}",
        f"X-Api-Key: {secret}",
        f"Host: alice:{secret}@example.org",
        f"X-Forwarded-For: {secret}@",
        f"X-Request-Id: {secret}@",
        f"Content-Length: {secret}",
        f"{secret}",
    ]
    paths = [
        f"/token?account=alice&password={text}",
        f"/token?password={text}&scope={text}",
        f"/token?scope=repository:{IMAGE}:{text}&service={text}&client_id={text}",
        f"/token?refresh_token={text}",
        f"/v2/?access_token={text}",
        f"/v2/{IMAGE}/manifests/v1?token={text}&password={text}",
        f"{API}/users?password={text}",
        f"{API}/audit?since={text}",
        f"{API}/tokens?last={text}",
        f"http://alice:{text}@127.0.0.1/v2/",
    ]
    made = [f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" for path in paths]
    for path in ("/token", "/v2/"):
        made += [f"GET {path} HTTP/1.1\r\n{line}\r\nConnection: close\r\n\r\n" for line in lines]
    return [request.encode() for request in made]


def bodies(secret: str) -> list[tuple[str, str, str, bytes]]:
    """Bodies with a secret at the right and at wrong places; each is refused."""
    form = quote(secret, safe="")
    return [
        ("POST", "/token", FORM, f"grant_type=password&username=alice&password={form}".encode()),
        ("POST", "/token", FORM, f"grant_type=password&password={form}".encode()),
        ("POST", "/token", FORM, f"grant_type=refresh_token&refresh_token={form}".encode()),
        ("POST", "/token", FORM, f"grant_type={form}&password={form}".encode()),
        ("POST", "/token", FORM, f"username=alice&password={form}&".encode() + b"x" * 66_000),
        ("POST", "/token", "application/json", json.dumps({"password": secret}).encode()),
        ("POST", f"{API}/users", "x", json.dumps({"name": "-", "password": secret}).encode()),
        ("POST", f"{API}/users", "x", json.dumps({"name": "root", "password": [secret]}).encode()),
        ("POST", f"{API}/users", "x", json.dumps({"name": "y", "password": secret + "x" * 600}).encode()),
        ("POST", f"{API}/users", "x", json.dumps({"name": "y", "password": secret}).encode()[:-1]),
        ("PATCH", f"{API}/users/missing", "x", json.dumps({"password": secret}).encode()),
        ("PATCH", f"{API}/users/admin", "x", json.dumps({"password": secret, "disabled": secret}).encode()),
        ("POST", f"{API}/tokens", "x", json.dumps({"name": "-", "expires_in": secret}).encode()),
    ]


async def used(serving: Client) -> list[str]:
    """Use secrets of all kinds, right and wrong, wherever they could go; these secrets."""
    admin = Administrator(serving, basic("admin", ADMIN))
    alice = await admin.add_user("alice", OTHER)
    token = await admin.add_token("ci", user="alice")
    await admin.grant("user:alice", "*", "push")
    answer = await alice.ask(f"repository:{IMAGE}:pull,push", offline_token="true")
    bearer, refresh = answer.json["token"], answer.json["refresh_token"]
    for person in (alice, token, alice.user("x", token.secret), alice.showing(f"Bearer {bearer}")):
        assert (await person.get("/v2/")).status == 200
        await person.push_image(IMAGE, "v1", b"layer")
    assert (await admin.post(grant_type="refresh_token", refresh_token=refresh)).status == 200
    assert (await admin.showing(None).post(grant_type="password", username="alice", password=OTHER)).status == 200
    assert (await admin.call("PATCH", "/users/alice", password=FRESH)).status == 200
    secrets = [ADMIN, OTHER, token.secret, bearer, WRONG, FRESH, refresh]
    for secret in secrets[1:5]:
        answers = [await deferToThread(serving.raw, request) for request in everywhere(secret)]
        for method, path, form, body in bodies(secret):
            for person in (admin, Person(serving)):
                answers.append((await person.request(method, path, body, content_type=form)).body)
        for text in answers:
            assert b'"token":' in text or secret.encode() not in text, text
    return secrets


async def test_where_secrets_are(serving: Client, daemon: Daemon, dsn: str):
    """Whatever is done with them, none is in what the daemon has written, shown or kept."""
    secrets = await used(serving)
    admin = Administrator(serving, basic("admin", ADMIN))
    shown = {
        "log": daemon.text(),
        "audit": json.dumps(await admin.audit("n=1000")),
        "metrics": (await admin.get("/metrics")).body.decode(),
        "health": (await admin.get("/readyz")).body.decode(),
        "lists": str([(await admin.get(f"{API}/{path}")).body for path in ("users", "tokens", "grants", "keys", "me")]),
        "rows": rows(dsn),
    }
    assert daemon.process is not None
    for name in ("cmdline", "environ"):
        shown[name] = Path(f"/proc/{daemon.process.pid}/{name}").read_bytes().decode("utf-8", "replace")
    assert "login.failed" in shown["audit"]
    assert '"GET /token" 401' in shown["log"] or '\\"GET /token\\" 401' in shown["log"]
    found = []
    for secret in secrets:
        for form in (secret, quote(secret, safe=""), base64.b64encode(f"alice:{secret}".encode()).decode()[:-1]):
            found += [(where, line) for where, text in shown.items() for line in text.splitlines() if form in line]
    assert not found, found[0]
    assert "Traceback" not in shown["log"]
    assert daemon.stop() == 0


def rows(dsn: str) -> str:
    """All rows of access control, as a dump would have them, without the keys."""
    connection = psycopg2.connect(dsn)
    try:
        cursor = connection.cursor()
        text = ""
        for table in ("users", "tokens", "grants", "login_attempts", "audit", "access_state"):
            cursor.execute(f"SELECT t::text FROM {table} t")
            text += str(cursor.fetchall())
        return text
    finally:
        connection.close()
