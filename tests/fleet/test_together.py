"""Many pushes at once, spread over two replicas."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.client import Client, digest_of
from tests.e2e.content import KIB, MIB, NAME
from tests.fleet import pushes
from tests.fleet.fleet import Fleet, Turns
from tests.fleet.pushes import PART

PUSHES = 200
WAYS = (pushes.stream, pushes.whole, pushes.single, pushes.rest_in_put)
SEED = Random(7)
BLOBS = [
    *(SEED.randbytes(SEED.randrange(2, 64 * KIB)) for _ in range(30)),
    *(SEED.randbytes(64 * KIB + SEED.randrange(1, 300 * KIB)) for _ in range(12)),
    *(SEED.randbytes(PART + SEED.randrange(MIB)) for _ in range(2)),
]
# Each blob is pushed some times; of the big ones fewer, so that it ends in seconds.
PLAN = [*BLOBS[-2:] * 4, *(BLOBS[SEED.randrange(42)] for _ in range(PUSHES - 8))]


@pytest.fixture(scope="module")
def fleet(new_fleet) -> Iterator[Fleet]:
    """One whose bucket holds nothing else."""
    with new_fleet() as made:
        yield made


@pytest.fixture(scope="module")
def replicas(fleet) -> tuple[Client, Client]:
    """Two of them."""
    return fleet.serving()


@pytest.fixture(scope="module")
def pushed(replicas) -> None:
    """All of them are pushed, by as many clients at once."""

    def push(number: int) -> None:
        clients = replicas if number % 2 else replicas[::-1]
        WAYS[number % len(WAYS)](Turns(clients), PLAN[number], digest_of(PLAN[number]))

    with ThreadPoolExecutor(PUSHES) as pool:
        list(pool.map(push, range(PUSHES)))


@pytest.mark.usefixtures("pushed")
def test_every_blob_from_both(replicas):
    """Every push was acknowledged, and each replica gives every blob, byte for byte."""
    for replica in replicas:
        for content in {digest_of(content): content for content in PLAN}.values():
            pushes.check_blob(replica, content, digest_of(content))


@pytest.mark.usefixtures("pushed")
def test_one_object_for_a_blob(fleet):
    """The bucket has an object for each blob of more than a row, and none beside them but those in the outbox."""
    fleet.check_balance()
    large = {digest_of(content) for content in PLAN if len(content) > 64 * KIB}
    assert {digest for (digest,) in fleet.query("SELECT digest FROM blobs WHERE object_key IS NOT NULL")} == large
    rows = fleet.rows()
    assert set(fleet.objects()) - rows.doomed.keys() == rows.named.keys()
    assert fleet.multiparts() == set()
    assert fleet.query("SELECT count(*) FROM upload_sessions") == [(0,)]


@pytest.mark.usefixtures("pushed")
def test_the_image_has_each_once(fleet):
    """However often a blob was pushed, the image has it once."""
    [(linked,)] = fleet.query(
        "SELECT count(*) FROM image_blobs JOIN images i ON i.id = image_id WHERE i.name = %s", NAME.partition("/")[2]
    )
    assert linked == len({digest_of(content) for content in PLAN})
