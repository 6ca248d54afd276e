"""`artifactapi gc` and `artifactapi fsck`: work over the rows and the bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from artifactapi.commands.output import Output
from artifactapi.commands.tool import Tool, Work, perform
from artifactapi.gc.fsck import Finding, Fsck
from artifactapi.tap import Options

DUE_SHOWN = 1_000_000
FLAGS = {"gc": ("--dry-run",), "fsck": ("--repair", "--quick")}


def run(name: str, arguments: Sequence[str]) -> None:
    """Run the command, and exit: 0 if all is well, 1 if not."""
    flags = {flag for flag in arguments if flag in FLAGS[name]}
    options = Options()  # type: ignore[no-untyped-call]  # Twisted's
    options.parseOptions([argument for argument in arguments if argument not in flags])
    perform(options.config, COMMANDS[name](Output(sys.stdout), flags))


def gc(output: Output, flags: set[str]) -> Work:
    """A run of the collector, or what it would take."""

    async def collect(tool: Tool) -> int:
        collector = tool.collector(await tool.open())
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

    async def check(tool: Tool) -> int:
        parts, findings = await tool.open(), list[Finding]()

        def found(finding: Finding) -> None:
            findings.append(finding)
            output.say("finding", f"{finding.kind}: {finding.name}: {finding.detail}", **asdict(finding))

        checking = Fsck(parts.database, parts.store, parts.hashing, found, output.progress)
        await checking.run("--quick" not in flags, "--repair" in flags)
        output.say("checked", f"{len(findings) or 'no'} findings", findings=len(findings))
        return 1 if findings else 0

    return check


COMMANDS = {"gc": gc, "fsck": fsck}
