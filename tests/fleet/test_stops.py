"""A replica that is told to stop while clients push and pull, and an S3 server that takes its time."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.client import digest_of
from tests.e2e.content import MIB
from tests.fleet import pushes
from tests.fleet.guarded import Attempt
from tests.fleet.proxy import Exchange, pass_on
from tests.fleet.pushes import PART
from tests.fleet.steps import COMMIT, COMPLETE, NAMES, PART_2

SIZE = 2 * PART + MIB + 7


@pytest.mark.parametrize("step", [("s3", PART_2), ("s3", COMPLETE), ("sql", COMMIT)], ids=lambda step: NAMES[step[1]])
def test_sigterm(guarded, victims, survivor, step):
    """A request that runs when the replica is told to stop is answered; the next one goes to another."""
    content = os.urandom(SIZE)
    daemon, client = victims.take()
    location = pushes.start(survivor)
    hold = guarded.hold(*step, 1, after=False)
    attempt = Attempt(lambda client: client.send("PUT", f"{location}?digest={digest_of(content)}", content), client)
    hold.wait()
    daemon.process.send_signal(signal.SIGTERM)
    hold.go_on()
    assert attempt.ended().statuses == [201]
    assert daemon.wait() == 0
    pushes.check_blob(survivor, content, digest_of(content))


def test_s3_is_slow(guarded, slow, survivor):
    """While more parts hang in S3 than may be sent at once, pulls and small pushes go on; then all pushes end well."""
    known, small = os.urandom(PART + 1), os.urandom(1000)
    pushes.single(survivor, known, digest_of(known))
    contents = [os.urandom(PART + n) for n in range(1, 11)]
    gate, held = threading.Event(), threading.Semaphore(0)

    def wait(exchange: Exchange) -> None:
        held.release()
        gate.wait()
        pass_on(exchange)

    guarded.s3.always("PUT .*partNumber=1", wait)
    with ThreadPoolExecutor(len(contents)) as pool:
        try:
            pushing = [pool.submit(pushes.stream, slow, content, digest_of(content)) for content in contents]
            for _ in range(6):
                assert held.acquire(timeout=30)
            pushes.check_blob(slow, known, digest_of(known))
            pushes.stream(slow, small, digest_of(small))
            pushes.check_blob(slow, small, digest_of(small))
        finally:
            gate.set()
        for push in pushing:
            push.result()
    for content in contents:
        pushes.check_blob(survivor, content, digest_of(content))
