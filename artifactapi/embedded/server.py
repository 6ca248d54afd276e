"""The life of the default Postgres: start, watch, start again, stop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong  # not the built-in one
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from artifactapi.embedded import database, settings
from artifactapi.embedded.account import Account, account_for
from artifactapi.embedded.binaries import Binaries, find
from artifactapi.embedded.child import Child
from artifactapi.embedded.cluster import Cluster
from artifactapi.embedded.errors import EmbeddedError, explained
from artifactapi.embedded.logfile import LogFile
from artifactapi.threads import Threads

log = Logger()

_ACCEPT_SECONDS = 300  # recovery after a crash replays at most max_wal_size, 1 GB
_CLEAR_SECONDS = 30  # for an earlier postgres to go away
_ORPHAN_SECONDS = 1  # idle backends notice their postmaster's death at once; one in a long query does not
_LASTING_SECONDS = 60  # a life as long as this clears the count of failures
_PAUSES = (0.05, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds before each new try
_STOP = ((signal.SIGINT, 20), (signal.SIGQUIT, 5), (signal.SIGKILL, 5))  # fast, immediate, the end; seconds for each


class EmbeddedPostgres:
    """One Postgres for one daemon, for one start and one stop.

    `on_failure` is called with the reason when postgres has died and could not be brought back.
    """

    on_failure: Callable[[EmbeddedError], None] | None = None
    _account: Account
    _binaries: Binaries
    _folder: int  # a descriptor of the cluster

    def __init__(self, directory: Path, reactor: Any) -> None:
        self._reactor = reactor
        self._cluster = Cluster(Path(os.path.abspath(directory)))
        self._threads = Threads("embedded", 1, reactor)
        self._log_file = LogFile(self._cluster.directory / "postgres.log")
        self._log_bound = LoopingCall(self._bound_log)
        self._log_bound.clock = reactor
        self._held = contextlib.ExitStack()
        self._child: Child | None = None
        self._work: Deferred[None] | None = None
        self._stopping = False
        self._failures = 0

    async def start(self) -> str:
        """Make the cluster if there is none, start postgres, and return the DSN once it accepts connections.

        Raises EmbeddedError, after which nothing is left running or locked. Call it on the reactor's thread.
        """
        try:
            # Not in a thread: a lock taken by a thread whose caller was cancelled would be held for ever.
            self._held.callback(os.close, self._cluster.lock())
            self._threads.start()
            self._work = Deferred.fromCoroutine(self._open())
            await self._work
        except OSError as error:
            await self.stop()
            raise explained(error, self._cluster.directory) from error
        except BaseException:
            await self.stop()
            raise
        self._log_bound.start(60)
        return database.dsn(self._host())

    async def stop(self) -> None:
        """End postgres, by a fast shutdown if that takes no longer than it may, and let go of the directory."""
        self._stopping = True
        if self._log_bound.running:
            self._log_bound.stop()
        if self._work is not None:
            self._work.cancel()
        if self._child is not None:
            await self._end(self._child)
        await self._threads.stop()
        self._held.close()

    async def _end(self, child: Child) -> None:
        for number, seconds in _STOP:
            child.signal(number)
            try:
                await child.ended().addTimeout(seconds, self._reactor)
            except TookTooLong:
                log.warn("postgres (pid {pid}) did not end on {name}", pid=child.pid, name=number.name)
            else:
                return

    async def _open(self) -> None:
        cluster = self._cluster
        self._account = await self._threads.run(account_for, cluster.path)
        major = await self._threads.run(cluster.major)
        self._binaries = await self._threads.run(find, self._account, major, cluster.directory)
        if major is None:
            await self._create()
        self._folder = os.open(cluster.path, os.O_RDONLY | os.O_DIRECTORY)
        self._held.callback(os.close, self._folder)
        await self._launch()

    async def _create(self) -> None:
        cluster, since = self._cluster, self._log_file.length()
        await self._threads.run(cluster.begin, self._account)
        folder = os.open(cluster.new, os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = await self._run([self._binaries.initdb, *settings.INITDB], folder).ended()
        finally:
            os.close(folder)
        if status != 0:
            raise self._failed("initdb could not make a cluster", since)
        await self._threads.run(cluster.commit)

    async def _launch(self) -> None:
        """Start postgres and wait until it accepts connections. EmbeddedError if it ends before, or takes too long."""
        await self._clear()
        await self._threads.run(self._cluster.forget_stale_pids)
        since, born = self._log_file.length(), self._reactor.seconds()
        options = [f"--{name}={value}" for name, value in settings.SERVER.items()]
        child = self._run([self._binaries.postgres, *options], self._folder)
        try:
            await self._ready(child, born, since)
        except EmbeddedError:
            await self._end(child)
            raise
        log.info("postgres {major} accepts connections (pid {pid})", major=self._binaries.major, pid=child.pid)
        child.ended().addCallback(self._died, born, since)

    async def _ready(self, child: Child, born: float, since: int) -> None:
        while not await self._threads.run(database.ready, self._host()):
            if child.status is not None:
                raise self._failed("postgres could not start", since)
            if self._reactor.seconds() - born > _ACCEPT_SECONDS:
                raise self._failed(f"postgres did not accept connections within {_ACCEPT_SECONDS} s", since)
            await self._sleep(0.01)

    def _run(self, argv: list[str], folder: int) -> Child:
        """Start a program of Postgres on the cluster that `folder` is a descriptor of.

        It is given the descriptor, not the path: that needs no right to the folders above, so that root's data may be
        where postgres' account cannot go (below /root), and is short however long the path is.
        """
        output = self._log_file.open()
        try:
            self._child = Child([*argv, "-D", f"/proc/self/fd/{folder}"], self._account, output, folder, self._reactor)
        finally:
            os.close(output)
        return self._child

    async def _clear(self) -> None:
        """Wait until no process of an earlier postgres is at work in the cluster; EmbeddedError if that takes too long.

        One whose daemon was killed is shutting down; backends whose postmaster was killed are about to notice.
        """
        begun = self._reactor.seconds()
        while pids := await self._threads.run(self._cluster.processes):
            waited = self._reactor.seconds() - begun
            if waited > _CLEAR_SECONDS:
                raise EmbeddedError(
                    f"an earlier postgres (process {min(pids)}) still works in {self._cluster.path}: "
                    f"end it (kill -INT {min(pids)}), then start again"
                )
            if waited > _ORPHAN_SECONDS:
                await self._threads.run(self._cluster.kill_orphans)
            await self._sleep(0.02)

    def _died(self, status: int, born: float, since: int) -> None:
        if self._stopping:
            return
        if self._reactor.seconds() - born > _LASTING_SECONDS:
            self._failures = 0
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        error = self._failed(f"postgres {how}", since)
        log.warn("{error}; it is started again", error=str(error))
        self._work = Deferred.fromCoroutine(self._recover(error)).addErrback(self._gave_up)

    async def _recover(self, error: EmbeddedError) -> None:
        while self._failures < len(_PAUSES):
            await self._sleep(_PAUSES[self._failures])
            self._failures += 1
            await self._room()
            try:
                return await self._launch()
            except EmbeddedError as again:
                error = again
                log.warn("{error}", error=str(error))
        raise error

    async def _room(self) -> None:
        """Wait until postgres can write: trying on a full disk would use up the tries, and somebody may free some."""
        if not await self._threads.run(self._cluster.has_room):
            log.error("no space left in {directory}: postgres waits for some", directory=self._cluster.directory)
            while not await self._threads.run(self._cluster.has_room):
                await self._sleep(0.5)

    def _gave_up(self, failure: Failure) -> None:
        error = failure.value
        if self._stopping and isinstance(error, CancelledError):
            return
        if isinstance(error, OSError):
            error = explained(error, self._cluster.directory)
        elif not isinstance(error, EmbeddedError):
            log.failure("postgres could not be started again", failure)
            error = EmbeddedError(f"postgres could not be started again: {error!r}")
        if self.on_failure is not None:
            self.on_failure(error)
        else:
            log.critical("{error}", error=str(error))

    def _failed(self, what: str, since: int) -> EmbeddedError:
        reason = self._log_file.reason(since)
        return EmbeddedError(f"{what} in {self._cluster.directory}: {reason} (see {self._log_file.path})")

    async def _bound_log(self) -> None:
        try:
            await self._threads.run(self._log_file.bound)
        except OSError as error:  # a LoopingCall would end at it
            log.warn("the log of postgres could not be shortened: {error}", error=str(error))

    def _host(self) -> str:
        return self._cluster.host(self._folder)

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds, lambda: None)
