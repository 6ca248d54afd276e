"""What the commands about access work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from artifactapi.access.access import Access
from artifactapi.commands.output import Output
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


async def every(listing: Callable[[Key, int], Awaitable[list[T]]], first: Key, key: Callable[[T], Key]) -> list[T]:
    """All pages of a list; `first` comes before all keys."""
    found: list[T] = []
    while page := await listing(key(found[-1]) if found else first, PAGE):
        found += page
    return found
