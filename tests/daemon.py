"""`twistd artifactapi` as a process of its own, to be killed, stopped and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.client import Client

DEADLINE = 60.0
SERVING = re.compile(r"serving on http://127\.0\.0\.1:(\d+)")
ROOT = Path(__file__).parents[1]


class Daemon:
    """A daemon over `directory`: its data, its log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start it with these options and ARTIFACTAPI_* variables; do not wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from artifactapi.cli import main; main()", "serve", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=self._environment(environment),
            )
        return self.process

    def start(self, *arguments: str, **environment: str) -> Client:
        """Start it and wait until it serves; a client of it."""
        process = self.spawn(*arguments, **environment)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = SERVING.search(self.text())
            if found:
                return Client("127.0.0.1", int(found.group(1)))
            if process.poll() is not None:
                raise AssertionError(f"the daemon ended with {process.returncode}: {self.text()}")
            time.sleep(0.02)
        raise AssertionError(f"the daemon did not serve in time: {self.text()}")

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

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ARTIFACTAPI_")}
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "ARTIFACTAPI_DATA_DIR": str(self.data),
            "ARTIFACTAPI_LISTEN": "tcp:0:interface=127.0.0.1",
            **{f"ARTIFACTAPI_{key.upper()}": value for key, value in given.items()},
        }
