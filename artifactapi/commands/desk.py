"""What the commands about access work with."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from artifactapi.access.access import Access
from artifactapi.commands.output import Entry, Output, columns
from artifactapi.metadata.audit import By
from artifactapi.metadata.database import Database

PAGE = 1000
T = TypeVar("T")
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Desk:
    """The rows, the use cases over them, who asks for it, and where to say what was done."""

    database: Database
    access: Access
    by: By
    output: Output


Deed = Callable[[Desk], Awaitable[None]]


class Named(Protocol[T]):
    """Use cases of what is known by a name."""

    async def listing(self, last: str, count: int) -> list[T]: ...

    async def delete(self, name: str, by: By) -> None: ...


def listing_of(
    event: str, cases: Callable[[Access], Named[T]], shown: Callable[[T], Entry], *names: str
) -> Callable[[Namespace], Deed]:
    """The verb `list` of these use cases; `names`: what people want to see of each."""

    async def show(desk: Desk) -> None:
        found = await every(cases(desk.access).listing, "", lambda one: str(shown(one)["name"]))
        desk.output.show(event, list(map(shown, found)), columns("name", *names))

    return lambda given: show


def deletion_of(cases: Callable[[Access], Named[Any]], said: str) -> Callable[[Namespace], Deed]:
    """The verb `delete`; `said` with the name in it tells what was done."""

    def begin(given: Namespace) -> Deed:
        async def work(desk: Desk) -> None:
            await cases(desk.access).delete(given.name, desk.by)
            desk.output.say("deleted", said.format(given.name), name=given.name)

        return work

    return begin


async def every(listing: Callable[[Key, int], Awaitable[list[T]]], first: Key, key: Callable[[T], Key]) -> list[T]:
    """All pages of a list; `first` comes before all keys."""
    found: list[T] = []
    while page := await listing(key(found[-1]) if found else first, PAGE):
        found += page
    return found
