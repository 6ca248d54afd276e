"""What a process remembers of who sends requests is bounded in bytes, not in entries alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

from artifactapi.access.login import Origin
from artifactapi.service import Artifactapi
from tests.access.people import Administrator, Person

EACH = 4096
"""Bytes: ten thousand are remembered."""


async def took(service: Artifactapi, people: Sequence[Person]) -> float:
    """Bytes that are held for each of these after a request of each."""
    login = service.v2._guard._login
    tracemalloc.start()
    try:
        for person in people:
            assert person.header is not None
            await login.identify(person.header.encode(), Origin("127.0.0.1", "request"))
        return tracemalloc.get_traced_memory()[0] / len(people)
    finally:
        tracemalloc.stop()


async def test_tokens_for_many_images(admin: Administrator, nobody: Person, service: Artifactapi):
    """Anybody can have tokens for a hundred images of a public repo, and they cost no memory."""
    await admin.publish("docker-internal")
    names = [[f"{number}/{image}{'x' * 100}" for image in range(40)] for number in range(40)]
    people = [await nobody.bearer(*(f"repository:docker-internal/{name}:pull" for name in each)) for each in names]
    assert await took(service, people) < EACH


async def test_tokens_of_who_has_many_grants(admin: Administrator, service: Artifactapi):
    """His grants are in memory once, not once for each of his tokens."""
    user = await admin.add_user("alice")
    for number in range(60):
        await admin.grant("user:alice", "docker-internal", "push", images=f"team{number}/*")
    people = [await user.bearer(f"repository:docker-internal/team1/{number}:pull,push") for number in range(50)]
    assert await took(service, people) < EACH


async def test_logins_of_who_has_many_grants(admin: Administrator, service: Artifactapi):
    """The same with what clients come back with, each of which may end by itself."""
    user = await admin.add_user("alice")
    for number in range(60):
        await admin.grant("user:alice", "docker-internal", "push", images=f"team{number}/*")
    secrets = [(await user.ask(offline_token="true")).json["refresh_token"] for _ in range(50)]
    assert await took(service, [user.showing(f"Bearer {secret}") for secret in secrets]) < EACH
