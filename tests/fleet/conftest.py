"""Fixtures: replicas as processes, on one database and one part of a bucket, for all tests of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.client import Client
from tests.conftest import statement
from tests.daemon import Daemon
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


@pytest.fixture(scope="package")
def new_fleet(postgres, template, seaweed, tmp_path_factory) -> Callable[[], AbstractContextManager[Fleet]]:
    """Makes one, over a database and a part of the bucket that are its own; no replica yet."""

    @contextmanager
    def make() -> Iterator[Fleet]:
        name = f"fleet_{next(NUMBERS)}"
        statement(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
        made = Fleet(tmp_path_factory.mktemp("fleet"), f"{postgres} dbname={name}", seaweed, f"{name}/")
        yield made
        made.kill()
        statement(postgres, f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture(scope="package")
def fleet(new_fleet) -> Iterator[Fleet]:
    """The one that most tests share: each has blobs of its own."""
    with new_fleet() as made:
        yield made


@pytest.fixture(scope="package")
def survivor(fleet) -> Client:
    """A replica that lives through all tests, and needs no proxy."""
    return fleet.spawn().client()


@pytest.fixture(scope="package")
def replicas(fleet, survivor) -> tuple[Client, Client]:
    """Two of them."""
    return survivor, fleet.spawn().client()


@pytest.fixture
def turns(replicas) -> Turns:
    """A client whose every request goes to the other replica."""
    return Turns(replicas)


@pytest.fixture(scope="package")
def proxies(fleet) -> Iterator[Guarded]:
    """Proxies before the fleet's Postgres and S3 server."""
    made = Guarded(fleet)
    yield made
    fleet.kill()
    made.close()


@pytest.fixture
def guarded(proxies, fleet) -> Iterator[Guarded]:
    """The proxies, which forget after the test what they were told; then rows and bytes agree."""
    yield proxies
    unused = proxies.s3.unused + proxies.sql.unused
    proxies.s3.clear()
    proxies.sql.clear()
    assert unused == [], "what the test is about did not happen"
    fleet.check_balance()


@pytest.fixture(scope="package")
def slow(proxies) -> Client:
    """A replica behind the proxies, which lives."""
    return proxies.fleet.spawn(**proxies.options).client()


@pytest.fixture(scope="package")
def victims(proxies) -> Victims:
    """Replicas behind the proxies, to be killed."""
    return Victims(proxies)


@pytest.fixture(params=["s3", "files"])
def spawn(request, new_fleet, tmp_path) -> Iterator[Callable[[], Daemon]]:
    """Starts replicas over a database of their own, and a bucket or a directory."""
    with new_fleet() as fleet:
        own = {} if request.param == "s3" else {"s3_bucket": "", "s3_endpoint": "", "data_dir": str(tmp_path / "data")}
        made = lambda **environment: fleet.spawn(**own, shutdown_grace="2", **environment)  # noqa: E731
        made.fleet, made.tool, made.on_s3 = fleet, fleet.tool(**own), not own
        yield made
        fleet.kill()
        if request.param == "s3":
            fleet.check_balance()
