"""The commands about access as they are typed: standard output and error, terminals, pipes, exit status."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from artifactapi.cli import ACCESS
from tests.commands.conftest import PASSWORD
from tests.onlooker import Onlooker
from tests.tool import COMMAND, Tool


def test_without_a_store(tool: Tool):
    """They need the database alone; a mistake is one line on standard error, and status 1."""
    [made] = tool.events("user", "add", "root", "--admin", "--password-stdin", input=PASSWORD)
    assert (made["event"], made["name"]) == ("created", "root")
    ran = tool.run("user", "delete", "nobody")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "artifactapi: no user 'nobody'\n")
    ran = tool.run("token", "add", "ci", "--nonsense")
    line = "artifactapi: unrecognized arguments: --nonsense; see artifactapi token --help\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", line)
    ran = tool.run("audit", "--since", "yesterday")
    assert (ran.returncode, ran.stderr) == (1, "artifactapi: since is a time like 2026-11-24T12:00:00Z\n")


def test_a_database_that_is_not_there(tmp_path: Path):
    """One line, and no data directory where none is wanted."""
    tool = Tool("", tmp_path / "data")
    ran = tool.run("user", "list", "--database-url", "postgresql://u:s3cret@127.0.0.1:9/x", "--start-patience", "0")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("artifactapi: cannot connect to the database: ")
    assert ran.stderr.count("\n") == 1
    assert "s3cret" not in ran.stderr
    assert not (tmp_path / "data").exists()


def test_a_password_that_is_asked_for(tool: Tool):
    """On a terminal it is asked for twice, and not to be seen; two that differ change nothing."""
    seen = tool.on_terminal("user", "add", "root", "--admin", answers=[PASSWORD, PASSWORD])
    assert seen == (0, "Password: \nAgain: \nuser root was created\n")
    seen = tool.on_terminal("user", "change", "root", "--password", answers=["another one", "another two"])
    assert seen == (1, "Password: \nAgain: \nartifactapi: the two are not the same\n")


def test_a_password_that_is_no_text(tool: Tool):
    """What is not UTF-8 could not be typed into a client."""
    ran = tool.run("user", "add", "alice", "--password-stdin", input=b"\xff" * 20, text=False)
    assert (ran.returncode, ran.stderr) == (1, b"artifactapi: standard input is not a password in UTF-8\n")


def test_a_reader_that_has_seen_enough(tool: Tool, dsn: str):
    """A pipe that is closed ends it without a word."""
    onlooker = Onlooker(dsn)
    onlooker.rows(
        "INSERT INTO audit (actor, credential, address, request_id, action)"
        " SELECT repeat('x', 1000), 'none', '', '', 'x' FROM generate_series(1, 2000)"
    )
    onlooker.close()
    ends = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "audit", "--count", "2000"], env=tool.environment, **ends) as process:
        assert process.stdout.readline().startswith(b'{"event":"entry",')
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("noun", ACCESS)
def test_help(tmp_path: Path, noun: str):
    """Each noun says how it is used."""
    ran = Tool("", tmp_path).run(noun, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"usage: artifactapi {noun} ")
