"""The `artifactapi` command as a process."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

from tests.daemon import ROOT, url_of

COMMAND = [sys.executable, "-c", "from artifactapi.cli import main; main()"]


class Tool:
    """The command line over one database and one directory."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ARTIFACTAPI_")},
            "PYTHONPATH": str(ROOT),
            "ARTIFACTAPI_DATA_DIR": str(directory),
            **({"ARTIFACTAPI_DATABASE_URL": url_of(dsn)} if dsn else {}),
        }

    def run(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Run it to its end."""
        options = {"capture_output": True, "text": True, "timeout": 60, "env": self.environment, **options}
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([*COMMAND, *arguments], **options)

    def events(self, *arguments: str, status: int = 0, **options) -> list[dict]:
        """What it says, its progress left out."""
        said = self.lines(*arguments, status=status, **options)
        return [event for event in said if event["event"] != "progress"]

    def lines(self, *arguments: str, status: int = 0, **options) -> list[dict]:
        """What it says, as JSON lines."""
        ran = self.run(*arguments, **options)
        assert (ran.returncode, ran.stderr) == (status, ""), ran
        return list(map(json.loads, ran.stdout.splitlines()))

    def on_terminal(self, *arguments: str, answers: Sequence[str] = ()) -> tuple[int, str]:
        """Run it on a terminal, where each question gets its answer; its status, and what is to be seen."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 500, 0, 0))
        ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        process = subprocess.Popen([*COMMAND, *arguments], env=self.environment, start_new_session=True, **ends)
        os.close(theirs)
        seen, left = "", list(answers)
        while more := read(ours):
            seen += more
            if left and seen.endswith(": "):
                os.write(ours, f"{left.pop(0)}\n".encode())
        os.close(ours)
        return process.wait(60), seen.replace("\r\n", "\n").replace("\r\033[K", "")


def read(terminal: int) -> str:
    """What comes next; nothing at its end."""
    try:
        return os.read(terminal, 65536).decode()
    except OSError:
        return ""
