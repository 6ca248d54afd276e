"""Faults of a disk, as the kernel reports them."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: EFBIG, after a short write up to there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def disk_limit() -> Callable[[int], AbstractContextManager[None]]:
    """A disk that is full, for as long as the context lasts."""
    return file_size_limit


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nobody may write in the directory, not even root (who is somebody else meanwhile)."""
    mode, root = directory.stat().st_mode, os.geteuid() == 0
    directory.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(mode)


@contextmanager
def not_a_directory(directory: Path) -> Iterator[None]:
    """There is a file where the directory was."""
    aside = directory.rename(directory.with_name("aside"))
    directory.touch()
    try:
        yield
    finally:
        directory.unlink()
        aside.rename(directory)


@pytest.fixture(params=[read_only, not_a_directory])
def broken(request: pytest.FixtureRequest) -> Callable[[Path], AbstractContextManager[None]]:
    """A way in which a directory fails."""
    return request.param
