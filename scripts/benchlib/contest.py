"""Measuring: the items in turns, on every registry, in an order that changes from round to round."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from benchlib.client import BenchError
from benchlib.daemons import Daemon, start_ours, start_peer
from benchlib.items import Item, Stage
from benchlib.server import s3_server
from benchlib.workload import Workload

COPIES = 3  # of what is pushed: ours, the peer's, and the peer's copy at the end of an upload on S3
START = {"ours": start_ours, "peer": start_peer}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: `cpu` is what the daemon (and its Postgres) used meanwhile, in seconds."""

    value: float
    cpu: float


Samples = dict[str, list[Sample]]  # by daemon


@dataclass(frozen=True, slots=True)
class Contest:
    """The same for every stage: `names` are the registries, `root` is where they keep their data."""

    names: list[str]
    workload: Workload
    rounds: int
    root: pathlib.Path
    s3: bool

    def run(self, stage: Stage) -> dict[str, Samples]:
        """By item; the stage's data is deleted at the end."""
        self._require_room(stage)
        with self._registries(stage) as daemons:
            for daemon in daemons:
                self.workload.prepare(daemon, set(stage.items))
            for daemon in daemons:
                daemon.base = daemon.memory()
            samples: dict[str, Samples] = {key: {name: [] for name in stage.names(self.names)} for key in stage.items}
            for number in range(self.rounds):
                self._round(stage, number, daemons if number % 2 == 0 else daemons[::-1], samples)
            return samples

    def _round(self, stage: Stage, number: int, daemons: list[Daemon], samples: dict[str, Samples]) -> None:
        for key, item in stage.items.items():
            if item.once and number < self.rounds - 1:
                continue
            for daemon in daemons:
                taken = sample(item, self.workload, daemon)
                samples[key][daemon.name].append(taken)
                report = f"round {number + 1}: {key:10} {daemon.name:5} {taken.value:10.3f} {item.unit}"
                print(report, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _registries(self, stage: Stage) -> Iterator[list[Daemon]]:
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stage-", dir=self.root)))
            s3 = stack.enter_context(s3_server(directory / "s3")) if self.s3 else None
            daemons = []
            for name in stage.names(self.names):
                daemons.append(START[name](directory, s3, stage.redirects))
                stack.callback(daemons[-1].stop)
            for daemon in daemons:
                daemon.await_ready(300)
            yield daemons

    def _require_room(self, stage: Stage) -> None:
        needed, free = COPIES * stage.pushed(self.rounds), shutil.disk_usage(self.root).free >> 20
        if needed > free:
            raise BenchError(f"{self.root} has {free} MiB free and {needed} may be written: see --size and --rounds")


def sample(item: Item, workload: Workload, daemon: Daemon) -> Sample:
    before = daemon.cpu_seconds()
    try:
        value = item.measure(workload, daemon)
    except (BenchError, OSError) as error:
        raise BenchError(f"{daemon.name}: {item.title}: {error}{daemon.last_words()}") from error
    return Sample(value, daemon.cpu_seconds() - before)


def median(samples: list[Sample]) -> Sample:
    return Sample(statistics.median(one.value for one in samples), statistics.median(one.cpu for one in samples))
