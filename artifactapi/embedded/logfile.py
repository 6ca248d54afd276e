"""What initdb and postgres say: one file, bounded, from which an error's reason is read."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_LIMIT = 8 * 1024 * 1024  # bytes; the one generation kept beside it is as long at most, give or take a minute's lines
# Not ERROR: that ends a statement, never postgres or initdb. And not what a client is told that comes too early.
_REASON = re.compile(r"(?:FATAL|PANIC|error): +(?! |the database system is )(.+)")
_LAST_WORDS = 65536  # bytes read to find a reason
_LONGEST = 300  # characters of a reason


@dataclass(frozen=True, slots=True)
class LogFile:
    """The log of one cluster; `path`.1 is what did not fit any more."""

    path: Path

    def open(self) -> int:
        """A descriptor to give to a child, written at the end whatever happens to the file's length."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def length(self) -> int:
        """Bytes in the file now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def bound(self) -> None:
        """Move a full file's text aside. It is emptied in place, since postgres keeps it open."""
        if self.length() > _LIMIT:
            shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
            os.truncate(self.path, 0)

    def reason(self, since: int) -> str:
        """The last error written after `since` bytes, as one line; without one, the last line of all."""
        length = self.length()
        with self.path.open("rb") as stream:
            stream.seek(max(since if since <= length else 0, length - _LAST_WORDS))
            said = stream.read(_LAST_WORDS).decode("utf-8", "replace").strip()
        errors = _REASON.findall(said)
        return (errors or said.splitlines() or ["it said nothing"])[-1].strip()[:_LONGEST]
