"""The rows of the table: what is measured, in which order, and what it should come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from benchlib.daemons import Daemon
from benchlib.workload import PUSHES, TAGS, Workload


@dataclass(frozen=True, slots=True)
class Item:
    """One row. `ratio` bounds ours / peer, `limit` ours: a rate from below, everything else from above; `least` ours
    from below.

    `once`: in the last round alone. `pushed`: MiB that one measurement leaves in a store.
    """

    title: str
    unit: str
    measure: Callable[[Workload, Daemon], float]
    ratio: float | None = None
    limit: float | None = None
    least: float | None = None
    once: bool = False
    pushed: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """Items that are measured on registries, and in a store, of their own. `alone`: on ours only."""

    items: dict[str, Item]
    redirects: bool = False
    alone: bool = False

    def only(self, keys: set[str]) -> Stage:
        return replace(self, items={key: item for key, item in self.items.items() if key in keys})

    def names(self, given: list[str]) -> list[str]:
        """Those of the registries that it is for."""
        return [name for name in given if name == "ours" or not self.alone]

    def pushed(self, rounds: int) -> int:
        """MiB that each registry gets in all."""
        return sum(item.pushed * (1 if item.once else rounds) for item in self.items.values())


def rise(_: Workload, daemon: Daemon) -> float:
    return daemon.peak_memory() - daemon.base


def peak(_: Workload, daemon: Daemon) -> float:
    return daemon.peak_memory()


FLAT = 8.0  # of 64 times the bytes: S3 itself takes some time for each part when an upload is completed
PEAK = "peak memory, without Postgres"
GET, HEAD = (f"manifest {method} by tag, 32 connections" for method in ("GET", "HEAD"))


def file_stages(size: int) -> list[Stage]:
    """On the filesystem. `size` is that of a layer in MiB."""
    items = {
        "push": Item("push of a layer (POST, PATCH, PUT)", "s", Workload.push, 0.5, pushed=size),
        "chunked": Item("the same in 32 KiB chunks, as docker", "s", Workload.push_chunked, pushed=size),
        "pull": Item("pull of a layer", "s", Workload.pull, 0.8),
        "pull16": Item("16 pulls side by side, a quarter each", "s", Workload.pull16, 0.8),
        "get": Item(GET, "1/s", Workload.get, 2.0),
        "head": Item(HEAD, "1/s", Workload.head, 2.0),
        "put": Item(f"manifest PUT, {TAGS:,} tags", "1/s", Workload.put),
        "tags": Item(f"tags/list of {TAGS:,} tags", "s", Workload.tags),
        "peak": Item(PEAK, "MiB", peak, limit=200, once=True),
    }
    token = {"bearer": Item("manifest GET with a token / without one", "x", Workload.bearer, least=0.8)}
    return [Stage(items), Stage(token, alone=True)]


def s3_stages(size: int) -> list[Stage]:
    """On S3."""
    layers = {
        "push": Item("push of a layer (POST, PATCH, PUT)", "s", Workload.push, 0.5, pushed=size),
        "pull": Item("pull of a layer, streamed", "s", Workload.pull),
        "get": Item(GET, "1/s", Workload.get, 5.0),
    }
    redirected = {"redirected": Item("pull of a layer, redirected", "s", Workload.pull_redirected)}
    quarter = max(1, size // 4)
    many = {
        "push32": Item(
            f"{PUSHES} pushes of {quarter} MiB side by side",
            "s",
            Workload.push_many,
            once=True,
            pushed=PUSHES * quarter,
        ),
        "failed": Item("  of which failed", "", Workload.failed, limit=0, once=True),
        "rise": Item("memory that they take above the base", "MiB", rise, limit=512, once=True),
        "peak": Item(PEAK, "MiB", peak, once=True),
    }
    return [Stage(layers), Stage(redirected, redirects=True), Stage(end_items(size)), Stage(many)]


def end_items(size: int) -> dict[str, Item]:
    """The final PUT after ever more bytes; the largest once, because that takes its time."""
    smallest, largest = max(1, size // 16), 4 * size
    sizes = {"end-tiny": smallest, "end-small": max(1, size // 4), "end": size, "end-large": largest}
    items = {
        key: Item(
            f"final PUT after {mib} MiB", "s", partial(Workload.end, size=mib),
            limit=0.1, once=mib == largest, pushed=mib,
        )
        for key, mib in sizes.items()
    }  # fmt: skip
    growth = partial(Workload.growth, small=smallest, large=largest)
    items["growth"] = Item("  of the largest / of the smallest", "x", growth, limit=FLAT, once=True)
    return items
