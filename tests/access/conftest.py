"""Fixtures of access control: a daemon with an administrator, and people who want something of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from argon2 import PasswordHasher

from artifactapi.access import passwords
from artifactapi.config import Config
from artifactapi.service import Artifactapi
from tests.access.people import Person, first_administrator
from tests.client import Client


@pytest.fixture(autouse=True)
def _cheap_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real argon2id with the least memory and time, where its cost is not the point."""
    if "costly" not in request.fixturenames:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(passwords, "hasher", cheap)


@pytest.fixture
def config(config: Config) -> Config:
    """As often as a test likes may somebody be wrong; and nothing runs of its own."""
    return replace(config, login_attempts=0)


@pytest_twisted.async_yield_fixture
async def admin(client: Client):
    """The first administrator of the daemon in this process."""
    yield await first_administrator(client)


@pytest.fixture
def nobody(client: Client) -> Person:
    """A client that shows nothing."""
    return Person(client)


@pytest_twisted.async_yield_fixture
async def replica(service: Artifactapi, config: Config):
    """A second daemon over the same database."""
    from twisted.internet import reactor

    running = Artifactapi(config, reactor)
    await running.start()
    yield running
    await running.stopService()


@pytest.fixture
def elsewhere(replica: Artifactapi) -> Person:
    """A client of the second daemon that shows nothing."""
    return Person(Client("127.0.0.1", replica.address.port))
