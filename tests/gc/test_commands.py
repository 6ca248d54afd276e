"""`artifactapi gc` and `artifactapi fsck`, as processes."""

from __future__ import annotations

import os
import pty

import pytest

from tests.daemon import Daemon, url_of
from tests.onlooker import Onlooker
from tests.registry.bodies import BIG
from tests.tool import Tool

NAME = "docker-internal/team/app"


@pytest.fixture
def tool(dsn, daemon) -> Tool:
    """Beside the daemon."""
    return Tool(dsn, daemon.data)


async def test_gc(dsn, daemon: Daemon, tool: Tool, onlooker: Onlooker):
    """A dry run says what would go, a run takes it."""
    client = daemon.start(database_url=url_of(dsn))
    digest = await client.push_blob(NAME, BIG)
    onlooker.rows("UPDATE image_blobs SET idle_since = now() - interval '2 days'")
    [due] = tool.events("gc", "--dry-run")
    assert (due["event"], due["kind"], due["name"]) == ("due", "link", f"{NAME} {digest}")
    *progress, collected = tool.lines("gc")
    assert (collected["event"], collected["links"]) == ("collected", 1)
    assert (await client.get(f"/v2/{NAME}/blobs/{digest}")).status == 404
    assert {"event": "progress", "step": "links", "done": 1, "total": 0} in progress
    onlooker.rows("INSERT INTO gc_runs DEFAULT VALUES")
    assert tool.events("gc", status=1) == [{"event": "busy"}]


async def test_fsck(dsn, daemon: Daemon, tool: Tool, onlooker: Onlooker):
    """What is wrong is a line each, and the status; repaired orphans are no finding any more."""
    client = daemon.start(database_url=url_of(dsn))
    digest = await client.push_blob(NAME, BIG)
    assert tool.events("fsck") == [{"event": "checked", "findings": 0}]
    orphan = daemon.data / "objects" / "blobs" / "ab" / "ab-orphan"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    [finding, checked] = tool.events("fsck", "--quick", "--repair", status=1)
    assert (finding["kind"], finding["name"], checked["findings"]) == ("orphan", "blobs/ab/ab-orphan", 1)
    assert tool.events("fsck", "--quick") == [{"event": "checked", "findings": 0}]
    key = onlooker.value("SELECT object_key FROM blobs")
    (daemon.data / "objects" / key).write_bytes(BIG[::-1])
    [finding, _] = tool.events("fsck", status=1)
    assert (finding["kind"], finding["name"]) == ("damaged", f"blob {digest}")
    assert finding["detail"].endswith(f"object {key}; in {NAME}")


async def test_on_a_terminal(dsn, daemon: Daemon, tool: Tool):
    """People get a bar and words."""
    client = daemon.start(database_url=url_of(dsn))
    await client.push_blob(NAME, BIG)
    ours, theirs = pty.openpty()
    tool.run("fsck", stdout=theirs, stderr=theirs, capture_output=False)
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "blobs [##############################] 1" in text
    assert "no findings" in text


@pytest.mark.parametrize("command", ["gc", "fsck"])
def test_where_no_registry_is(daemon: Daemon, command: str):
    """A directory that is not the daemon's is not found to be well: none is made, and the mistake is a line."""
    ended = Tool("", daemon.data).run(command)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert (
        ended.stderr == f"artifactapi: there is no registry in {daemon.data}: --data-dir says where the daemon's is\n"
    )
    assert not daemon.data.exists()


async def test_with_the_embedded_postgres(daemon: Daemon):
    """The tools find the Postgres of a daemon that runs, and start their own when none does."""
    tool = Tool("", daemon.data)
    client = daemon.start()
    await client.push_blob(NAME, BIG)
    for _ in range(2):
        assert tool.events("fsck") == [{"event": "checked", "findings": 0}]
        if daemon.process.poll() is None:
            daemon.stop()
    assert daemon.postgres() == []


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["gc", "--nonsense"], "artifactapi: option --nonsense not recognized"),
        (["fsck", "--dry-run"], "artifactapi: option --dry-run not recognized"),
        (["fsck", "--database-url", "postgresql://127.0.0.1:9/x"], "artifactapi: cannot connect to the database"),
        (["fsck", "--data-dir", "/proc/nothing"], "artifactapi: "),
    ],
)
def test_mistakes(tmp_path, arguments, line):
    """A mistake is one line on standard error and status 1."""
    ran = Tool("", tmp_path).run(*arguments, "--start-patience", "0")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1].startswith(line)
