"""The registry over real parts, whose rows and bytes are compared after every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted

from artifactapi.gc import outbox
from artifactapi.registry.registry import Registry
from tests.registry import balance
from tests.registry.steps import SteppedDatabase, SteppedStore, Steps


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store keeps its files."""
    return tmp_path / "store"


@pytest_twisted.async_yield_fixture
async def registry(registry, database, store, directory):
    """The use cases, with a repo `docker-internal`. After the test rows and bytes agree, before and after a sweep."""
    yield registry
    await balance.check(database, directory)
    await database.query("UPDATE doomed_objects SET after = now()")
    await outbox.sweep(database, store)
    await balance.check(database, directory)
    await balance.check_swept(database, directory)


@pytest.fixture
def stepped(registry, database, store, threads) -> Callable[[Steps], Registry]:
    """Another process's registry over the same database and store, whose calls are steps."""
    return lambda steps: Registry.over(SteppedDatabase(database, steps), SteppedStore(store, steps), threads)
