"""Postgres and S3 that go away in the middle of a push or a pull, and come back."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client import Client, digest_of
from tests.daemon import eventually
from tests.e2e.content import MIB, NAME, Content
from tests.fleet import pushes
from tests.fleet.cold import Cold
from tests.fleet.fleet import CHECKED, Fleet
from tests.fleet.pushes import PART
from tests.fleet.test_fills import persistent
from tests.postgres import Postgres
from tests.remote.pulls import pull
from tests.seaweed import Seaweed

SIZE = 3 * PART + MIB + 7


@pytest.fixture(scope="module")
def postgres_alone() -> Iterator[Postgres]:
    """A Postgres that the tests stop and start."""
    directory = Path(tempfile.mkdtemp(prefix="artifactapi-test-"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def seaweed_alone(tmp_path_factory) -> Iterator[Seaweed]:
    """An S3 server that the tests kill and start."""
    server = Seaweed(tmp_path_factory.mktemp("seaweed-alone"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def fleet(postgres_alone, seaweed_alone, tmp_path_factory) -> Iterator[Fleet]:
    """Replicas on these two."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), postgres_alone.dsn, seaweed_alone, "outages/")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def replicas(fleet) -> tuple[Client, Client]:
    """Two of them."""
    return fleet.serving()


@pytest.fixture(autouse=True)
def balance(fleet, replicas):
    """After every test both replicas live, and rows and bytes agree."""
    yield
    for replica in replicas:
        eventually(lambda replica=replica: replica.send("GET", "/readyz").status == 200)
    assert [daemon.process.poll() for daemon in fleet.daemons] == [None, None]
    fleet.check_balance()


def interrupted(content: bytes, at: int, event: Callable[[], None]) -> Iterator[bytes]:
    """A body in the middle of which something happens."""
    yield from pushes.pieces(content[:at])
    event()
    yield from pushes.pieces(content[at:])


def durable(fleet: Fleet) -> int:
    """How far the one session is."""
    [(offset,)] = fleet.query('SELECT "offset" FROM upload_sessions')
    return offset


@pytest.fixture(autouse=True)
def _no_session(fleet, replicas):
    """Each test begins without sessions, so that its own is the only one."""
    for (session,) in fleet.query("SELECT id FROM upload_sessions"):
        assert replicas[0].send("DELETE", f"{pushes.UPLOADS}{session}").status == 204


def refused(answer) -> None:
    """It is 503, and says when to come again."""
    assert (answer.status, answer.code) == (503, "UNAVAILABLE"), answer.body
    assert int(answer.headers["Retry-After"]) > 0


def test_postgres_restarts_in_a_stream(fleet, replicas, postgres_alone):
    """A PATCH goes on through a restart of Postgres; no byte has to be sent again."""
    content = os.urandom(SIZE)
    location = pushes.start(replicas[0])

    def restart() -> None:
        eventually(lambda: durable(fleet) == PART)
        postgres_alone.stop()
        postgres_alone.start()

    answer = replicas[0].send("PATCH", location, interrupted(content, PART + MIB, restart))
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{SIZE - 1}")
    pushes.put(replicas[1], location, digest_of(content))
    for replica in replicas:
        pushes.check_blob(replica, content, digest_of(content))


def test_postgres_stays_away(fleet, replicas, postgres_alone):
    """A PATCH ends in 503 when Postgres stays away; the session goes on from its row, and so does all else."""
    content, before = os.urandom(SIZE), Content()
    before.push_image(replicas[0], "v1", 1000)
    location = pushes.start(replicas[0])

    def stop() -> None:
        eventually(lambda: durable(fleet) == PART)
        postgres_alone.stop()

    refused(replicas[0].send("PATCH", location, interrupted(content, PART + MIB, stop)))
    refused(replicas[1].send("GET", f"/v2/{NAME}/manifests/v1"))
    assert replicas[1].send("GET", "/readyz").status == 503
    postgres_alone.start()
    eventually(lambda: replicas[1].send("GET", "/readyz").status == 200)
    assert pushes.offset(replicas[1], location) == PART
    before.check(replicas[1])
    assert pushes.patch(replicas[1], location, content[PART:], PART).status == 202
    pushes.put(replicas[1], location, digest_of(content))
    for replica in replicas:
        eventually(lambda replica=replica: replica.send("GET", "/readyz").status == 200)
        pushes.check_blob(replica, content, digest_of(content))


def test_s3_is_killed_in_a_stream(fleet, replicas, seaweed_alone):
    """A PATCH ends in 503 when S3 has died; its session tells the truth meanwhile, and goes on when S3 is back."""
    content = os.urandom(SIZE)
    location = pushes.start(replicas[0])

    def kill() -> None:
        eventually(lambda: durable(fleet) == PART)
        seaweed_alone.kill()

    refused(replicas[0].send("PATCH", location, interrupted(content, PART + MIB, kill)))
    assert [pushes.offset(replica, location) for replica in replicas] == [PART, PART]
    refused(pushes.patch(replicas[1], location, content[PART:], PART))
    seaweed_alone.start()
    assert pushes.offset(replicas[1], location) == PART
    assert pushes.patch(replicas[1], location, content[PART:], PART).status == 202
    pushes.put(replicas[1], location, digest_of(content))
    for replica in replicas:
        pushes.check_blob(replica, content, digest_of(content))


def test_s3_is_back_in_time(fleet, replicas, seaweed_alone):
    """What S3 had acknowledged before it was killed is there afterwards, in the middle of a session too."""
    first, content = os.urandom(PART + 1), os.urandom(2 * PART + MIB)
    pushes.single(replicas[0], first, digest_of(first))
    location, at = pushes.start(replicas[0]), PART + MIB
    assert pushes.patch(replicas[0], location, content[:at], 0).status == 202
    seaweed_alone.kill()
    seaweed_alone.start()
    assert pushes.patch(replicas[1], location, content[at:], at).status == 202
    pushes.put(replicas[0], location, digest_of(content))
    for replica in replicas:
        pushes.check_blob(replica, content, digest_of(content))
        pushes.check_blob(replica, first, digest_of(first))


def test_s3_is_killed_in_a_download(replicas, seaweed_alone):
    """A client of which half the blob is read when S3 dies gets right bytes, and fewer of them than were announced."""
    content = os.urandom(8 * PART)
    pushes.single(replicas[0], content, digest_of(content))
    data, complete = read_slowly(replicas[0], content, seaweed_alone.kill)
    seaweed_alone.start()
    assert not complete
    assert len(data) >= MIB
    assert content.startswith(data)
    pushes.check_blob(replicas[0], content, digest_of(content))


def read_slowly(client: Client, content: bytes, event: Callable[[], None]) -> tuple[bytes, bool]:
    """GET a blob; something happens when a MiB of it is read. What came, and whether that is all."""
    connection = http.client.HTTPConnection(client.host, client.port, timeout=60)
    try:
        connection.request("GET", f"/v2/{NAME}/blobs/{digest_of(content)}")
        response = connection.getresponse()
        data = response.read(MIB)
        event()
        while more := response.read1(MIB):
            data += more
    except (ConnectionResetError, http.client.IncompleteRead):
        return data, False
    finally:
        connection.close()
    return data, len(data) == len(content)


def check(cold: Cold, fleet: Fleet, replicas: tuple[Client, Client]) -> None:
    """All get all of it; nothing is left of the fetching, and a check finds nothing wrong."""
    for replica in replicas:
        assert persistent(replica, cold.path, cold.content)
    eventually(lambda: fleet.query("SELECT 1 FROM fills") + fleet.query("SELECT 1 FROM upload_sessions") == [])
    fleet.collect(fleet.tool())
    assert fleet.tool().events("fsck") == CHECKED
    fleet.check_clean()


@pytest.fixture
def cold(replicas, scripted) -> Cold:
    """One in a remote repo."""
    return Cold(replicas[0], scripted)


def test_postgres_restarts_in_a_fill(fleet, replicas, postgres_alone, cold):
    """A blob that comes from an upstream goes on coming through a restart of Postgres, and is fetched once."""

    def restart() -> None:
        eventually(lambda: durable(fleet) == PART)
        postgres_alone.stop()
        postgres_alone.start()

    cold.event = restart
    found = pull(replicas[0], cold.path)
    assert (found.status, found.body == cold.content) == (200, True)
    check(cold, fleet, replicas)
    assert cold.ranges == [None]


def test_s3_is_killed_in_a_fill(fleet, replicas, seaweed_alone, cold):
    """A pull is cut when S3 has died, after right bytes; when S3 is back, it goes on with what was kept."""

    def kill() -> None:
        eventually(lambda: durable(fleet) == PART)
        seaweed_alone.kill()

    cold.event = kill
    found = pull(replicas[0], cold.path)
    seaweed_alone.start()
    assert not found.whole
    assert cold.content.startswith(found.body)
    check(cold, fleet, replicas)
    assert cold.ranges == [None, f"bytes={PART}-"]
