"""`twistd artifactapi` as a process of its own, to be killed, stopped and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from psycopg2.extensions import parse_dsn

from artifactapi.embedded.cluster import Cluster
from tests.client import Client

DEADLINE = 60.0
SERVING = re.compile(r"serving on https?://127\.0\.0\.1:(\d+)")
ROOT = Path(__file__).parents[1]


def eventually(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Wait for a condition; fail if it does not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def url_of(dsn: str) -> str:
    """A DSN as --database-url takes it."""
    return f"postgresql:///?{urlencode(parse_dsn(dsn))}"


class Daemon:
    """A daemon over `directory`: its data, its log; run as `account` if that is given (and this is root)."""

    def __init__(self, directory: Path, account: str | None = None, path: str = "") -> None:
        """`path` is where the account finds Postgres, if not where we do."""
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._account = account
        self._path = path

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start it with these options and ARTIFACTAPI_* variables; do not wait."""
        return self.run(self._command(arguments), environment)

    def run(self, command: list[str], environment: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
        """Start it by this command."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=self._environment(environment),
                **options,
            )
        return self.process

    def start(self, *arguments: str, **environment: str) -> Client:
        """Start it and wait until it serves; a client of it."""
        self.spawn(*arguments, **environment)
        return self.client()

    def client(self) -> Client:
        """Wait until it serves; a client of it."""
        eventually(self._serves_or_fails)
        found = SERVING.search(self.text())
        assert found, self.text()
        return Client("127.0.0.1", int(found.group(1)))

    def _serves_or_fails(self) -> bool:
        # One that has ended with 0 went to the background.
        return bool(SERVING.search(self.text()) or (self.process and self.process.poll()))

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def wait(self) -> int:
        """Its exit status."""
        assert self.process is not None
        return self.process.wait(DEADLINE)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)

    def postgres_pid(self) -> int:
        """The pid of its Postgres."""
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])

    def postgres(self) -> list[int]:
        """All processes of its Postgres."""
        return Cluster(self.data).processes() if (self.data / "postgres").exists() else []

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        if self._account and os.geteuid() == 0:
            return [sys.executable, str(ROOT / "tests" / "e2e" / "as_account.py"), self._account, *arguments]
        return [sys.executable, "-c", "from artifactapi.cli import main; main()", "serve", *arguments]

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ARTIFACTAPI_")}
        return {
            **inherited,
            "PATH": f"{self._path}:{os.environ['PATH']}" if self._path else os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ARTIFACTAPI_DATA_DIR": str(self.data),
            "ARTIFACTAPI_LISTEN": "tcp:0:interface=127.0.0.1",
            **{f"ARTIFACTAPI_{key.upper()}": value for key, value in given.items()},
        }
