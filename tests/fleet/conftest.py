"""Fixtures: replicas as processes, on one database and one part of a bucket."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.client import Client
from tests.conftest import statement
from tests.fleet.fleet import Fleet, Turns
from tests.fleet.guarded import Guarded, Victims
from tests.seaweed import CREDENTIALS

NUMBERS = itertools.count(1)


@pytest.fixture(scope="package", autouse=True)
def credentials() -> Iterator[None]:
    """The S3 server's, in the environment that daemons inherit."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def fleet(postgres, template, seaweed, tmp_path_factory) -> Iterator[Fleet]:
    """No replica yet, over a database and a part of the bucket that are the module's own."""
    name = f"fleet_{next(NUMBERS)}"
    statement(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    made = Fleet(tmp_path_factory.mktemp("fleet"), f"{postgres} dbname={name}", seaweed, f"{name}/")
    yield made
    made.kill()
    statement(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def replicas(fleet) -> tuple[Client, Client]:
    """Clients of two replicas."""
    daemons = [fleet.spawn() for _ in range(2)]
    first, second = (daemon.client() for daemon in daemons)
    return first, second


@pytest.fixture
def turns(replicas) -> Turns:
    """A client whose every request goes to the other replica."""
    return Turns(replicas)


@pytest.fixture(scope="module")
def guarded(fleet) -> Iterator[Guarded]:
    """Proxies before the fleet's Postgres and S3 server."""
    made = Guarded(fleet)
    yield made
    made.fleet.kill()
    made.close()


@pytest.fixture(scope="module")
def survivor(fleet) -> Client:
    """A replica that lives through all tests of the module, and needs no proxy."""
    return fleet.spawn().client()


@pytest.fixture(scope="module")
def victims(guarded, survivor) -> Victims:
    """Replicas behind the proxies, to be killed."""
    return Victims(guarded)


@pytest.fixture(scope="module")
def slow(guarded) -> Client:
    """A replica behind the proxies, which lives."""
    return guarded.fleet.spawn(**guarded.options).client()
