"""`artifactapi gc` and `artifactapi fsck`: work over the rows and the bytes, beside the daemons or without any."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, globalLogBeginner

from artifactapi import logs
from artifactapi.daemon import StartError
from artifactapi.embedded import EmbeddedError
from artifactapi.embedded.attached import attached
from artifactapi.gc.fsck import Finding, Fsck
from artifactapi.gc.progress import Progress
from artifactapi.oci.errors import OciError
from artifactapi.service import Artifactapi, Config, Parts
from artifactapi.tap import Options

BAR = 30  # characters
DUE_SHOWN = 1_000_000
FLAGS = {"gc": ("--dry-run",), "fsck": ("--repair", "--quick")}
Work = Callable[["Tool", Parts], Awaitable[int]]


class Tool(Artifactapi):
    """The parts of a daemon, without a listener, a sweep or a life of its own."""

    async def _start_embedded(self, directory: Path) -> str:
        try:
            return await super()._start_embedded(directory)
        except EmbeddedError:
            running = attached(directory)
            if running is None:
                raise
            return running

    async def close(self) -> None:
        """Stop what `open` has started."""
        await self._stop_parts()


class Output:
    """Lines for people and a bar on a terminal; JSON lines otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()

    def say(self, event: str, text: str, **fields: Any) -> None:
        """One line."""
        line = f"\r\033[K{text}" if self._terminal else json.dumps({"event": event, **fields}, separators=(",", ":"))
        print(line, file=self._stream, flush=True)

    def progress(self, progress: Progress) -> None:
        """How far a step is."""
        if not self._terminal:
            self.say("progress", "", **asdict(progress))
            return
        filled = BAR * progress.done // progress.total if progress.total else 0
        bar = f"[{'#' * filled}{' ' * (BAR - filled)}] " if progress.total else ""
        print(f"\r\033[K{progress.step} {bar}{progress.done}", end="", file=self._stream, flush=True)


def run(name: str, arguments: Sequence[str]) -> None:
    """Run the command, and exit: 0 if all is well, 1 if not. A mistake is one line on standard error."""
    flags = {flag for flag in arguments if flag in FLAGS[name]}
    options = Options()  # type: ignore[no-untyped-call]  # Twisted's
    options.parseOptions([argument for argument in arguments if argument not in flags])
    quiet = FilteringLogObserver(logs.text_observer(sys.stderr), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([quiet], redirectStandardIO=False)
    work = COMMANDS[name](Output(sys.stdout), flags)
    task.react(lambda reactor: Deferred.fromCoroutine(_run(options.config, work, reactor)))


async def _run(config: Config, work: Work, reactor: Any) -> None:
    tool = Tool(config, reactor)
    try:
        status = await work(tool, await tool.open())
    except (StartError, EmbeddedError, OciError) as error:
        raise SystemExit(f"artifactapi: {' '.join(str(error).split())}") from None
    finally:
        await tool.close()
    raise SystemExit(status)


def gc(output: Output, flags: set[str]) -> Work:
    """A run of the collector, or what it would take."""

    async def collect(tool: Tool, parts: Parts) -> int:
        collector = tool.collector(parts)
        if "--dry-run" in flags:
            for due in await collector.preview(DUE_SHOWN):
                output.say("due", f"{due.kind} {due.name}: {due.why}", **asdict(due))
            return 0
        run = await collector.start()
        if run is None:
            output.say("busy", "another run of the collector is under way")
            return 1
        counts = await collector.collect(run, output.progress)
        output.say("collected", ", ".join(f"{n} {kind}" for kind, n in counts.items() if n) or "nothing", **counts)
        return 1 if (await collector.history(1))[0].failures else 0

    return collect


def fsck(output: Output, flags: set[str]) -> Work:
    """A check of rows against bytes."""

    async def check(tool: Tool, parts: Parts) -> int:
        findings: list[Finding] = []

        def found(finding: Finding) -> None:
            findings.append(finding)
            output.say("finding", f"{finding.kind}: {finding.name}: {finding.detail}", **asdict(finding))

        checking = Fsck(parts.database, parts.store, parts.hashing, found, output.progress)
        await checking.run("--quick" not in flags, "--repair" in flags)
        output.say("checked", f"{len(findings) or 'no'} findings", findings=len(findings))
        return 1 if findings else 0

    return check


COMMANDS = {"gc": gc, "fsck": fsck}
