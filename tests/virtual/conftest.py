"""Fixtures of virtual repos: `virtual` shows first `team`, then `hub`, whose upstream is here as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from argon2 import PasswordHasher

from artifactapi.access import passwords
from artifactapi.service import Config
from tests.access.people import first_administrator
from tests.client import Client
from tests.virtual.admin import Admin
from tests.virtual.upstream import Upstream


@pytest.fixture
def config(config: Config) -> Config:
    """Failed logins are not counted."""
    return replace(config, login_attempts=0)


@pytest_twisted.async_yield_fixture
async def upstream():
    """What `hub` fetches from."""
    serving = Upstream()
    yield serving
    await serving.close()


@pytest_twisted.async_yield_fixture
async def repos(client: Client, upstream: Upstream):
    """Two local repos and a remote one, seen as one; whoever changes them."""
    admin = Admin(client)
    for name in ("team", "lab"):
        await admin.create(name, "local")
    await admin.create("hub", "remote", upstream=upstream.url, tag_ttl=0, backoff=1, negative_ttl=0)
    await admin.create("virtual", "virtual", members=["team", "hub", "lab"])
    yield admin


@pytest_twisted.async_yield_fixture
async def admin(repos: Admin, client: Client, monkeypatch: pytest.MonkeyPatch):
    """The first administrator: from now on there are accounts."""
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    made = await first_administrator(client)
    repos.header = made.header
    yield made
