"""The S3 server that both registries keep their bytes in: that of the tests, which comes from pip."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class S3:
    """Where it is, and who may use it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@contextlib.contextmanager
def s3_server(directory: pathlib.Path) -> Iterator[S3]:
    """SeaweedFS over `directory`. For a process in the tests' virtualenv."""
    sys.path.append(str(ROOT))
    from tests.seaweed import BUCKET, CREDENTIALS, Seaweed

    seaweed = Seaweed(directory)
    try:
        seaweed.start()
        yield S3(seaweed.endpoint, BUCKET, *CREDENTIALS.values())
    finally:
        seaweed.kill()


def enter_virtualenv() -> None:
    """Go on in the tests' virtualenv, which has the server and its client: start this program there once more."""
    venv = pathlib.Path(os.environ.get("ARTIFACTAPI_TEST_VENV", ROOT / ".cache" / "test-venv")).absolute()
    python = venv / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        subprocess.run([ROOT / "scripts" / "install.sh", venv, "test"], check=True)
        os.environ["PATH"] = f"{venv / 'bin'}:{os.environ['PATH']}"
        os.execv(python, [str(python), *sys.argv])
