"""A Postgres that a test starts, stops and starts again, as an administrator would."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psycopg2

from artifactapi.embedded import binaries, settings
from artifactapi.embedded.account import account_for
from tests.daemon import DEADLINE, eventually

CLOSED = "local all all scram-sha-256\n"  # nobody has a password, so nobody gets in


class Postgres:
    """A server over `directory`, which every account must be able to reach; its socket is in there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cluster = directory / "cluster"
        self._account = account_for(self._cluster)
        self._binaries = binaries.find(self._account, None, directory)
        self._process: subprocess.Popen[bytes] | None = None
        os.chown(directory, self._account.uid, self._account.gid)
        self._call(self._binaries.initdb, *settings.INITDB, "-D", str(self._cluster)).wait(DEADLINE)

    @property
    def dsn(self) -> str:
        """How to reach it."""
        return f"host={self._directory} user={settings.NAME} dbname=postgres"

    def start(self, access: str | None = None) -> None:
        """Start; wait until it takes connections. `access` is what pg_hba.conf says, if not: everybody."""
        options = [f"--unix_socket_directories={self._directory}", "--listen_addresses=", "--fsync=off"]
        if access is not None:
            (self._directory / "hba").write_text(access)
            options.append(f"--hba_file={self._directory}/hba")
        self._process = self._call(self._binaries.postgres, "-D", str(self._cluster), *options)
        eventually(lambda: self._answers() if access is None else (self._directory / ".s.PGSQL.5432").exists())

    def stop(self) -> None:
        """End it, and every connection with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(DEADLINE)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.dsn).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _call(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._account.identity())
