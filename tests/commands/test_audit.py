"""`artifactapi audit` and `artifactapi key`."""

from __future__ import annotations

from tests.commands.conftest import Commands
from tests.onlooker import Onlooker

ADD = "INSERT INTO audit (at, actor, credential, address, request_id, action, repo, image, tag) VALUES "


async def test_filters(commands: Commands, onlooker: Onlooker):
    """Newest first; by what it is about, by time, and page by page."""
    for day, actor, image in [(1, "user:alice", "app"), (2, "user:bob", "app"), (3, "user:alice", "web")]:
        row = (f"2026-11-{day}", actor, "password", "192.0.2.1", "id", "manifest.push", "team", image, "v1")
        onlooker.rows(f"{ADD} ({', '.join(['%s'] * len(row))})", *row)

    async def found(*arguments: str) -> list[tuple[str, str]]:
        return [(entry["actor"], entry["image"]) for entry in await commands.events("audit", *arguments)]

    whole = [("user:alice", "web"), ("user:bob", "app"), ("user:alice", "app")]
    assert await found() == whole
    assert await found("--actor", "user:alice", "--repo", "team", "--image", "app") == whole[2:]
    assert await found("--since", "2026-11-02", "--until", "2026-11-03T00:00:00Z") == whole[1:2]
    [newest] = await commands.events("audit", "--count", "1")
    assert await found("--before", str(newest["id"])) == whole[1:]
    assert await commands.refused("audit", "--since", "yesterday") == "since is a time like 2026-11-24T12:00:00Z"


async def test_nobody_writes_on_the_terminal(commands: Commands, onlooker: Onlooker):
    """A login may fail under any name; what would move the cursor is shown as an escape."""
    row = ("now", "user:\033[2J\n\u202e", "password", "192.0.2.1", "id", "login.failed", None, None, None)
    onlooker.rows(f"{ADD} ({', '.join(['%s'] * len(row))})", *row)
    heading, line = await commands.seen("audit")
    assert heading.split()[:3] == ["ID", "AT", "ACTOR"]
    assert "user:\\x1b[2J\\n\\u202e" in line
    assert line.isprintable()


async def test_keys(administered: Commands, onlooker: Onlooker):
    """A rotation adds a key, which is shown without what is secret of it; a revocation leaves it alone."""
    made = [(await administered.events("key", "rotate"))[0]["id"] for _ in range(2)]
    listed = await administered.events("key", "list")
    assert [key["id"] for key in listed] == made[::-1]
    assert all(set(key) == {"event", "id", "created_at"} for key in listed)
    [last] = await administered.events("key", "rotate", "--revoke")
    assert [key["id"] for key in await administered.events("key", "list")] == [last["id"]]
    assert onlooker.value("SELECT count(*) FROM audit WHERE action = 'key.rotate' AND actor LIKE 'cli:%%'") == 3
