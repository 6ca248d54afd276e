"""The registries under test, each a process on a port of its own, and what the kernel says of them."""

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
from collections.abc import Iterator
from dataclasses import dataclass

from benchlib.client import BenchError, request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

PEER_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
  redirect: {{disable: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(slots=True)
class Daemon:
    """A registry that runs for the length of the benchmark."""

    name: str
    port: int
    child: subprocess.Popen[bytes]
    log: pathlib.Path

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
        raise BenchError(f"{self.name} did not start; its log ends:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End the daemon, gently first."""
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def peak_memory(self) -> float:
        """VmHWM of the daemon and its children in MiB, without those that are Postgres."""
        return sum(peak_of(pid) for pid in family(self.child.pid) if command_of(pid) != "postgres") / 1024

    def cpu_seconds(self) -> float:
        """User and system time of the daemon and all its children so far, Postgres too."""
        return sum(ticks_of(pid) for pid in family(self.child.pid)) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def command_of(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def peak_of(pid: int) -> int:
    """Kilobytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def ticks_of(pid: int) -> int:
    """Clock ticks of the process and of those children it has waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start(name: str, directory: pathlib.Path, command: list[str], port: int, environment: dict[str, str]) -> Daemon:
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return Daemon(name, port, child, log)


def start_ours(directory: pathlib.Path) -> Daemon:
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    settings = {"ARTIFACTAPI_LISTEN": listen, "ARTIFACTAPI_DATA_DIR": str(directory / "ours")}
    return start("ours", directory, [str(ROOT / "scripts" / "serve.sh")], port, os.environ | settings)


def start_peer(directory: pathlib.Path) -> Daemon:
    program = shutil.which("docker-registry")
    if program is None:
        raise BenchError("docker-registry is missing: apt-get install docker-registry")
    port = free_port()
    config = directory / "peer.yml"
    config.write_text(PEER_CONFIG.format(directory=directory / "peer", port=port))
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}  # it would read it
    return start("peer", directory, [program, "serve", str(config)], port, environment)
