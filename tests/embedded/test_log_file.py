"""The file that Postgres writes its log to."""

from __future__ import annotations

import os
from pathlib import Path

from artifactapi.embedded.logfile import LogFile


def test_the_log_is_bounded(tmp_path: Path):
    """A full log is emptied in place, since postgres holds it open; what was in it is kept once."""
    log = LogFile(tmp_path / "log")
    held = log.open()
    os.write(held, b"x" * (8 * 1024 * 1024 + 1))
    log.bound()
    os.write(held, b"FATAL:  the next line\n")
    os.close(held)
    assert log.path.read_bytes() == b"FATAL:  the next line\n"
    assert (tmp_path / "log.1").stat().st_size == 8 * 1024 * 1024 + 1
    assert log.reason(since=8 * 1024 * 1024) == "the next line"


def test_a_log_below_the_bound_is_left_alone(tmp_path: Path):
    """An ordinary log is kept as it is, and one that says nothing gives a reason that says so."""
    log = LogFile(tmp_path / "log")
    os.close(log.open())
    log.bound()
    assert not (tmp_path / "log.1").exists()
    assert log.reason(since=0) == "it said nothing"


def test_the_reason_is_what_ended_it(tmp_path: Path):
    """The last error is told; what early clients were answered is none, nor is a statement that failed."""
    log = LogFile(tmp_path / "log")
    log.path.write_text(
        'PANIC:  could not write to file "pg_wal/xlogtemp.1": No space left on device\n'
        "FATAL:  the database system is not yet accepting connections\n"
        "ERROR:  relation does not exist\n"
        "LOG:  database system is shut down\n"
    )
    assert log.reason(since=0) == 'could not write to file "pg_wal/xlogtemp.1": No space left on device'
