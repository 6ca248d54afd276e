"""What the kernel says of a process and its descendants."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator


def family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def command_of(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def memory_of(pid: int, field: str) -> int:
    """Kilobytes: VmHWM is the peak, VmRSS what it has now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


def ticks_of(pid: int) -> int:
    """Clock ticks of the process and of those children it has waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15])
