"""The life of a daemon's Postgres, as root and as an ordinary user, killed in the ways that processes get killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psycopg2

from artifactapi.embedded.account import account_for
from tests.embedded.steps import Program, eventually, execute, holds, living, postmaster, started

Running = tuple[Program, str]  # and its DSN
ROWS = "DROP TABLE IF EXISTS t; CREATE TABLE t (n int)"


def test_rows_outlive_the_daemon(program: Program):
    """A second daemon on a data directory finds the first one's rows, and a stopped one leaves no process."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    assert living(program.directory) == []
    with started(program) as dsn:
        assert holds(dsn, 1)


def test_the_settings_that_matter(running: Running):
    """No TCP, checksums, durable commits, UTF-8 in byte order, UTC."""
    wanted = {
        "listen_addresses": "",
        "data_checksums": "on",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_level": "minimal",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "max_connections": "100",
    }
    _, dsn = running
    collation = "SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()"
    assert {name: execute(dsn, f"SHOW {name}")[0][0] for name in wanted} == wanted
    assert execute(dsn, collation) == [("C", "C")]


def test_postgres_is_no_root_and_holds_nothing_of_the_daemon(running: Running):
    """Postgres runs unprivileged, in a closed folder, without the daemon's lock, groups, or environment."""
    program, _ = running
    process = Path("/proc", str(postmaster(program.directory)))
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    held = [os.readlink(each) for each in (process / "fd").iterdir()]
    environment = (process / "environ").read_bytes()
    folder = (program.directory / "postgres").stat()
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Groups"].split()
    assert not [each for each in held if each.endswith("/lock")]
    assert b"AWS" not in environment
    assert folder.st_mode & 0o777 == 0o700


def test_kill_9_of_postgres(running: Running):
    """A postgres that was killed is started again, and its committed rows are there."""
    program, dsn = running
    execute(dsn, ROWS, "INSERT INTO t VALUES (1)")
    first = postmaster(program.directory)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: holds(dsn, 1))
    assert postmaster(program.directory) != first


def test_kill_9_of_postgres_whose_backend_does_not_notice(running: Running):
    """Backends that outlive their postmaster are ended, so that the next one can start."""
    program, dsn = running
    execute(dsn, ROWS, "INSERT INTO t VALUES (1)")
    connection = psycopg2.connect(dsn, async_=True)
    eventually(lambda: connection.poll() == psycopg2.extensions.POLL_OK)
    connection.cursor().execute("DO $$ BEGIN LOOP END LOOP; END $$")
    busy = connection.info.backend_pid
    eventually(lambda: execute(dsn, f"SELECT state FROM pg_stat_activity WHERE pid = {busy}") == [("active",)])
    os.kill(postmaster(program.directory), signal.SIGKILL)
    eventually(lambda: holds(dsn, 1))
    assert busy not in living(program.directory)
    connection.close()


def test_a_ctrl_c_in_the_daemons_terminal_is_not_for_postgres(running: Running):
    """Postgres is in a session of its own: it ends when the daemon stops it, after the work that needs it."""
    program, _ = running
    assert os.getsid(postmaster(program.directory)) != os.getsid(program.process.pid)


def test_kill_9_of_the_daemon(used_program: Program):
    """Postgres goes away with a daemon that was killed; one started at once waits for that and finds the rows."""
    dsn = used_program.start()
    execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    first = postmaster(used_program.directory)
    used_program.stop(signal.SIGKILL)
    with started(used_program) as dsn:
        assert holds(dsn, 1)
        assert first not in living(used_program.directory)


def test_stale_pid_files_of_a_living_process(used_program: Program):
    """A pid file whose number is now another process's, of the same account, does not keep postgres from starting."""
    with started(used_program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        cluster = used_program.directory / "postgres"
        kept = {name: (cluster / name).read_text() for name in ("postmaster.pid", ".s.PGSQL.5432.lock")}
        owner = account_for(cluster)
    with subprocess.Popen(["sleep", "600"], **owner.identity()) as other:
        for name, text in kept.items():
            (cluster / name).write_text(f"{other.pid}\n" + text.split("\n", 1)[1])
            os.chown(cluster / name, owner.uid, owner.gid)
        with started(used_program) as dsn:
            assert holds(dsn, 1)
        assert other.poll() is None
        other.kill()


def test_a_pid_file_that_the_power_cut_emptied(used_program: Program):
    """A pid file without a number does not keep postgres from starting."""
    with started(used_program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    owner = account_for(used_program.directory / "postgres")
    pid_file = used_program.directory / "postgres" / "postmaster.pid"
    pid_file.touch(0o600)
    os.chown(pid_file, owner.uid, owner.gid)
    with started(used_program) as dsn:
        assert holds(dsn, 1)
