"""The files of the cluster: who may use them, how they come into being, what an earlier life left in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from artifactapi.embedded.account import Account
from artifactapi.embedded.errors import EmbeddedError

SOCKET = ".s.PGSQL.5432"  # in the cluster itself, which is 0700 and the postgres account's
_PID_FILES = ("postmaster.pid", SOCKET + ".lock")
_ROOM = 20 * 1024 * 1024  # bytes; a segment of the write-ahead log has 16 MiB
_LONGEST_SOCKET = 107  # bytes, sockaddr_un without its final NUL


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster in the daemon's data directory (an absolute path)."""

    directory: Path

    @property
    def path(self) -> Path:
        """Where the cluster is."""
        return self.directory / "postgres"

    @property
    def new(self) -> Path:
        """Where it is made: what is at `path` is always whole."""
        return self.directory / "postgres.new"

    def lock(self) -> int:
        """Make the directory if needed and take it for this process; the lock lasts until the descriptor is closed.

        The kernel lets go of it when the process dies. Raises EmbeddedError if another process has it.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise EmbeddedError(
                f"data directory {self.directory} is in use by process {holder}: "
                "end that one first, or choose another directory"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        return lock

    def major(self) -> int | None:
        """The version of Postgres that made the cluster; None if there is no cluster yet."""
        try:
            said = (self.path / "PG_VERSION").read_text("ascii", "replace").strip()
        except FileNotFoundError:
            if self.path.exists() and any(self.path.iterdir()):
                raise EmbeddedError(f"{self.path} is no Postgres cluster: move it away, then start again") from None
            return None
        if not said.isdecimal():
            raise EmbeddedError(f"{self.path}/PG_VERSION holds {said[:20]!r}, which is no version: restore a backup")
        return int(said)

    def begin(self, account: Account) -> None:
        """An empty place for initdb, in place of what one that was interrupted has left."""
        if self.new.exists():
            shutil.rmtree(self.new)
        self.new.mkdir(mode=0o700)
        if account.uid != os.geteuid():
            os.chown(self.new, account.uid, account.gid)

    def commit(self) -> None:
        """initdb is done and has synced its files: they become the cluster, for good."""
        self.new.rename(self.path)
        _sync(self.directory)
        with contextlib.suppress(PermissionError):  # the parent may be closed to us, and then is not of our making
            _sync(self.directory.parent)

    def host(self, descriptor: int) -> str:
        """The folder of the socket, in a form that libpq takes, given a descriptor of the cluster.

        libpq takes no long paths, and reads a comma as the end of one. Then it is the descriptor's name in /proc,
        good for this process and its user's others as long as the descriptor is open.
        """
        path = str(self.path)
        if "," not in path and len(os.fsencode(self.path / SOCKET)) <= _LONGEST_SOCKET:
            return path
        return f"/proc/{os.getpid()}/fd/{descriptor}"

    def has_room(self) -> bool:
        """Whether postgres finds space for its log: it does not start, and stops when it runs, without."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize >= _ROOM

    def processes(self) -> list[int]:
        """All processes of a postgres that work in the cluster; a postmaster and its backends all have it as cwd."""
        here = self.path.stat()
        return [int(each) for each in os.listdir("/proc") if each.isdecimal() and _postgres_in(each, here)]

    def kill_orphans(self) -> None:
        """End backends whose postmaster is dead. All they still could do is keep the next one from starting."""
        alive = self.processes()
        if self._owner(_PID_FILES[0]) not in alive:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def forget_stale_pids(self) -> None:
        """Remove pid files which would keep postgres from starting though no process is at work in the cluster.

        Their process is another one by now (pids come round, soonest in a container), or the machine went down before
        they were written. Those of a process that is gone are left: postgres knows them and checks its memory first.
        """
        for name in _PID_FILES:
            owner = self._owner(name)
            if (self.path / name).exists() and (owner is None or _alive(owner)):
                (self.path / name).unlink()

    def _owner(self, name: str) -> int | None:
        try:
            return int((self.path / name).read_text("ascii", "replace").split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None


def _postgres_in(pid: str, folder: os.stat_result) -> bool:
    try:
        with open(f"/proc/{pid}/comm", "rb") as name:
            return name.read() == b"postgres\n" and os.path.samestat(os.stat(f"/proc/{pid}/cwd"), folder)
    except OSError:  # it has ended, or is not ours to look at and so not of our account
        return False


def _alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
