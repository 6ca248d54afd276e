"""The commands about access, beside a daemon and its own Postgres, or without one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from tests.client import Answer, Client
from tests.commands.conftest import PASSWORD
from tests.daemon import Daemon, eventually
from tests.tool import Tool

NAME = "docker-internal/team/app"


def basic(name: str, password: str) -> dict[str, str]:
    """The header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def push(client: Client, headers: dict[str, str]) -> Answer:
    """Begin an upload."""
    return client.send("POST", f"/v2/{NAME}/blobs/uploads/", headers=headers)


def processes() -> Iterator[bytes]:
    """What everybody sees of all processes: their command lines and, if it is the same account, their environments."""
    for place in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield (place / name).read_bytes()
            except OSError:
                continue


def test_a_whole_story(daemon: Daemon):
    """Before the first start an administrator is made; beside the daemon, access is given, and taken away; after its
    end the rows are still there. The secrets are in no file of the data directory, no log and no process list."""
    tool = Tool("", daemon.data)
    first = tool.run("user", "add", "root", "--admin", "--password-stdin", input=PASSWORD)
    assert first.returncode == 0
    assert first.stderr == f"artifactapi: {daemon.data} is new: a registry begins there\n"
    assert daemon.postgres() == []
    client = daemon.start()
    assert push(client, {}).status == 401
    assert push(client, basic("root", PASSWORD)).status == 202

    made = tool.run("token", "add", "ci", "--push", "docker-internal/team/*")
    secret = made.stdout.strip()
    assert push(client, basic("anything", secret)).status == 202
    assert client.send("GET", "/api/v1/users", headers=basic("ci", secret)).status == 403
    assert not [seen for seen in processes() if secret.encode() in seen or PASSWORD.encode() in seen]

    assert tool.events("token", "delete", "ci")[0]["event"] == "deleted"
    eventually(lambda: push(client, basic("ci", secret)).status == 401)
    assert push(client, basic("mallory", "a wrong password")).status == 401
    [failed] = tool.events("audit", "--action", "login.failed", "--actor", "user:mallory")
    assert failed["address"] == "127.0.0.1"

    assert daemon.stop() == 0
    assert [user["name"] for user in tool.events("user", "list")] == ["root"]
    assert daemon.postgres() == []
    for shown in (secret, PASSWORD):
        assert shown not in daemon.text() + made.stderr
        assert not [file for file in daemon.data.rglob("*") if file.is_file() and shown.encode() in file.read_bytes()]


def test_a_start_that_waits_for_an_administrator(daemon: Daemon):
    """The daemon serves no network without one; one command later it does."""
    daemon.spawn("--listen", "tcp:0")
    assert daemon.wait() == 1
    assert "artifactapi user add admin --admin" in daemon.text()
    Tool("", daemon.data).run("user", "add", "admin", "--admin", "--password-stdin", input=PASSWORD)
    daemon.spawn("--listen", "tcp:0")
    eventually(lambda: "serving on" in daemon.text())
    assert daemon.stop() == 0
