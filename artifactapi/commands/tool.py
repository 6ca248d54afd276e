"""The parts of a daemon for a command that ends, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, globalLogBeginner

from artifactapi import logs
from artifactapi.config import Config
from artifactapi.daemon import StartError
from artifactapi.embedded import EmbeddedError
from artifactapi.embedded.attached import attached
from artifactapi.embedded.cluster import Cluster
from artifactapi.metadata.database import Database
from artifactapi.oci.errors import OciError
from artifactapi.service import Artifactapi, Parts


class Tool(Artifactapi):
    """The parts of a daemon, without a listener, a sweep or a life of its own."""

    async def rows(self) -> Database:
        """Start the database alone: no store, no credentials of one. Raises StartError, EmbeddedError, OciError."""
        directory = self.config.data_dir
        if self.config.database_url is None:
            self._make_directory(directory)
            if self._is_new():  # perhaps it is not where the daemon's is
                print(f"artifactapi: {directory} is new: a registry begins there", file=sys.stderr, flush=True)
        return await self._start_database()

    async def open(self) -> Parts:
        """Start what keeps the rows and bytes of a registry that is there: of none, nothing could be said to be well.

        Raises StartError, EmbeddedError, OciError.
        """
        if self.config.database_url is None and self._is_new():
            raise StartError(f"there is no registry in {self.config.data_dir}: --data-dir says where the daemon's is")
        return await super().open()

    def _is_new(self) -> bool:
        return not Cluster(self.config.data_dir).path.exists()

    async def _start_embedded(self, directory: Path) -> str:
        try:
            return await super()._start_embedded(directory)
        except EmbeddedError:
            running = attached(directory)
            if running is None:
                raise
            return running

    async def close(self) -> None:
        """Stop what was started."""
        await self._stop_parts()


Work = Callable[[Tool], Awaitable[int]]


def perform(config: Config, work: Work) -> None:
    """Do it, and exit with the status it gives. A mistake is one line on standard error, and 1."""
    quiet = FilteringLogObserver(logs.text_observer(sys.stderr), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([quiet], redirectStandardIO=False)
    task.react(lambda reactor: Deferred.fromCoroutine(_perform(config, work, reactor)))


async def _perform(config: Config, work: Work, reactor: Any) -> None:
    tool = Tool(config, reactor)
    try:
        status = await work(tool)
    except (StartError, EmbeddedError, OciError) as error:
        raise SystemExit(f"artifactapi: {' '.join(str(error).split())}") from None
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    finally:
        await tool.close()
    raise SystemExit(status)
