"""The registries under test, each a process on a port of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

from benchlib.client import BenchError, request
from benchlib.processes import command_of, family, memory_of, ticks_of
from benchlib.server import ROOT, S3

PEER_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  {storage}
  cache: {{blobdescriptor: inmemory}}
  delete: {{enabled: true}}
  redirect: {{disable: {streams}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
PEER_FILES = "filesystem: {{rootdirectory: {directory}}}"
PEER_S3 = """\
s3: {{region: us-east-1, regionendpoint: "{s3.endpoint}", bucket: {s3.bucket}, secure: false, v4auth: true,
    rootdirectory: /peer}}"""


@dataclass(slots=True)
class Daemon:
    """A registry that runs for the length of a stage. `base` is its memory before the load, in MiB."""

    name: str
    port: int
    child: subprocess.Popen[bytes]
    log: pathlib.Path
    base: float = 0.0

    def await_ready(self, seconds: float) -> None:
        """Return when GET /v2/ is answered; BenchError when the daemon ends or the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if request(self.port, "GET", "/v2/").status == 200:
                    return
            time.sleep(0.1)
        raise BenchError(f"{self.name} did not start{self.last_words()}")

    def stop(self) -> None:
        """End the daemon, gently first."""
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def last_words(self) -> str:
        """The end of its log, for an error's text."""
        return f"; the log of {self.name} ends:\n{self.log.read_text(errors='replace')[-2000:]}"

    def memory(self) -> float:
        """What the daemon and its children have now in MiB, without those that are Postgres."""
        return self._memory("VmRSS")

    def peak_memory(self) -> float:
        """The most that each of them has had."""
        return self._memory("VmHWM")

    def cpu_seconds(self) -> float:
        """User and system time of the daemon and all its children so far, Postgres too."""
        return sum(ticks_of(pid) for pid in family(self.child.pid)) / os.sysconf("SC_CLK_TCK")

    def _memory(self, field: str) -> float:
        return sum(memory_of(pid, field) for pid in family(self.child.pid) if command_of(pid) != "postgres") / 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start(name: str, directory: pathlib.Path, command: list[str], port: int, settings: dict[str, str]) -> Daemon:
    log = directory / f"{name}.log"
    # docker-registry panics at the sight of AWS_CA_BUNDLE.
    environment = {key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"} | settings
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return Daemon(name, port, child, log)


def start_ours(directory: pathlib.Path, s3: S3 | None = None, redirects: bool = False) -> Daemon:
    """This project, over its embedded Postgres. `redirects` is left to the settings of its repo."""
    port = free_port()
    settings = {
        "ARTIFACTAPI_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "ARTIFACTAPI_DATA_DIR": str(directory / "ours"),
    }
    if s3:
        settings |= {
            "ARTIFACTAPI_S3_ENDPOINT": s3.endpoint,
            "ARTIFACTAPI_S3_BUCKET": s3.bucket,
            "ARTIFACTAPI_S3_PREFIX": "ours/",
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }
    return start("ours", directory, [str(ROOT / "scripts" / "serve.sh")], port, settings)


def start_peer(directory: pathlib.Path, s3: S3 | None = None, redirects: bool = False) -> Daemon:
    """Debian's docker-registry."""
    program = shutil.which("docker-registry")
    if program is None:
        raise BenchError("docker-registry is missing: apt-get install docker-registry")
    port = free_port()
    config, settings = directory / "peer.yml", {}
    storage = PEER_FILES.format(directory=directory / "peer")
    if s3:
        storage = PEER_S3.format(s3=s3)
        settings["REGISTRY_STORAGE_S3_ACCESSKEY"] = s3.access_key
        settings["REGISTRY_STORAGE_S3_SECRETKEY"] = s3.secret_key
    config.write_text(PEER_CONFIG.format(storage=storage, streams=str(not redirects).lower(), port=port))
    return start("peer", directory, [program, "serve", str(config)], port, settings)
