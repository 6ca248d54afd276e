"""The commands about access over a database with the repo `team`, in this process; and as processes."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
import pytest_twisted

from artifactapi.access.access import Access
from artifactapi.access.rights import EVERYTHING
from artifactapi.commands.access import begin, by
from artifactapi.commands.desk import Desk
from artifactapi.commands.output import Output
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import OciError
from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections
from tests.onlooker import Onlooker
from tests.tool import Tool

PASSWORD = "a long enough password"


class Terminal(io.StringIO):
    """Standard output that people look at."""

    def isatty(self) -> bool:
        """Whether they do."""
        return True


class Commands:
    """What is typed, over these rows; without the process around it, of which a hundred would take minutes."""

    def __init__(self, database: Database, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = database
        self._access = access
        self._monkeypatch = monkeypatch

    async def run(self, stream: io.StringIO, noun: str, *arguments: str, given: str = "") -> str:
        """Do it; what it says on that stream. `given` is standard input."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        _, deed = begin(noun, arguments)
        await deed(Desk(self._database, self._access, by(), Output(stream)))
        return stream.getvalue()

    async def plain(self, *arguments: str, given: str = "") -> str:
        """What it says to a pipe."""
        return await self.run(io.StringIO(), *arguments, given=given)

    async def events(self, *arguments: str, given: str = "") -> list[dict[str, Any]]:
        """The same, as JSON lines."""
        return [json.loads(line) for line in (await self.plain(*arguments, given=given)).splitlines()]

    async def seen(self, *arguments: str) -> list[str]:
        """What people see, line by line."""
        return (await self.run(Terminal(), *arguments)).replace("\r\033[K", "").splitlines()

    async def refused(self, *arguments: str, given: str = "") -> str:
        """Why it is refused: what standard error would say."""
        with pytest.raises((SystemExit, OciError)) as refusal:
            await self.plain(*arguments, given=given)
        message = str(refusal.value).removeprefix("artifactapi: ")
        assert "\n" not in message
        return message


@pytest.fixture
def commands(database: Database, threads: Threads, onlooker: Onlooker, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Nobody is there yet."""
    from twisted.internet import reactor

    onlooker.rows("INSERT INTO repos (name, package_type, repo_type) VALUES ('team', 'docker', 'local')")
    return Commands(database, Access.over(database, threads, (EVERYTHING,), 20, 900, Connections(reactor)), monkeypatch)


@pytest_twisted.async_yield_fixture
async def administered(commands: Commands):
    """The same, with an administrator `root`, who is the first."""
    [made] = await commands.events("user", "add", "root", "--admin", "--password-stdin", given=f"{PASSWORD}\n")
    assert (made["event"], made["name"]) == ("created", "root")
    yield commands


@pytest.fixture
def tool(dsn: str, tmp_path) -> Tool:
    """The command as a process. There is no store where its environment says, and it has no credentials of one."""
    made = Tool(dsn, tmp_path / "nothing")
    made.environment |= {"ARTIFACTAPI_S3_BUCKET": "nowhere", "ARTIFACTAPI_S3_ENDPOINT": "http://127.0.0.1:9"}
    return made
