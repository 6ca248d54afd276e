"""Disks that can be filled: a small one, or, where nothing can be mounted, a limit that the kernel holds."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path

from tests.daemon import Daemon

MIB = 1024 * 1024


class SmallDisk:
    """A tmpfs."""

    def __init__(self, path: Path, size: int) -> None:
        """`size` in MiB. Raises CalledProcessError where this is not allowed."""
        self.path = path
        path.mkdir()
        options = f"size={size}m,mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True, capture_output=True)

    def fill(self, daemon: Daemon) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(MIB))

    def free(self, daemon: Daemon) -> None:
        """As before."""
        (self.path / "ballast").unlink()

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", self.path], check=True)


class FileLimit:
    """A limit on the length of files: EFBIG in place of ENOSPC, for the daemon but not for its postgres."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def fill(self, daemon: Daemon) -> None:
        """Files may not grow beyond what the log has."""
        self._limit(daemon, os.path.getsize(daemon.log) + 64 * 1024)

    def free(self, daemon: Daemon) -> None:
        """As before."""
        self._limit(daemon, resource.RLIM_INFINITY)

    def close(self) -> None:
        """Nothing to do."""

    def _limit(self, daemon: Daemon, length: int) -> None:
        assert daemon.process is not None
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (length, hard))


def small_disk(path: Path, size: int) -> SmallDisk | FileLimit:
    """What this machine allows."""
    try:
        return SmallDisk(path, size)
    except (OSError, subprocess.CalledProcessError):
        path.rmdir()
        return FileLimit(path)
