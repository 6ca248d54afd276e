"""What a command says: words for people on a terminal, JSON lines for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from artifactapi.gc.progress import Progress

BAR = 30  # characters
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
Entry = Mapping[str, Any]


class Output:
    """Lines for people, tables and a bar on a terminal; JSON lines otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()

    def say(self, event: str, text: str, **fields: Any) -> None:
        """One line."""
        self._print(f"\r\033[K{text}" if self._terminal else line(event, fields))

    def progress(self, progress: Progress) -> None:
        """How far a step is."""
        if not self._terminal:
            self._print(line("progress", asdict(progress)))
            return
        filled = BAR * progress.done // progress.total if progress.total else 0
        bar = f"[{'#' * filled}{' ' * (BAR - filled)}] " if progress.total else ""
        print(f"\r\033[K{progress.step} {bar}{progress.done}", end="", file=self._stream, flush=True)

    def show(self, event: str, entries: Sequence[Entry], people: Callable[[Entry], Entry]) -> None:
        """A list: for people a table with what they want to see of each entry; else each, whole, in a line."""
        if not self._terminal:
            for entry in entries:
                self._print(line(event, entry))
            return
        shown = [people(entry) for entry in entries]
        for row in aligned(list(shown[0]), [list(map(cell, each.values())) for each in shown]) if shown else []:
            self._print(row)

    def secret(self, secret: str, text: str) -> None:
        """The secret alone, to be piped on; the words about it go to standard error."""
        self._print(secret)
        print(text, file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def line(event: str, fields: Entry) -> str:
    """A JSON line."""
    return json.dumps({"event": event, **fields}, separators=(",", ":"))


def columns(*names: str) -> Callable[[Entry], Entry]:
    """These of an entry."""
    return lambda entry: {name: entry[name] for name in names}


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, each as wide as its widest cell."""
    named = [heading.removesuffix("_at").replace("_", " ").upper() for heading in headings]
    widths = [max(map(len, column)) for column in zip(named, *rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in (named, *rows))
    return [line.rstrip() for line in lines]


def cell(value: object) -> str:
    """A value for people. What would move the cursor, or worse, is shown as an escape: logins may name anything."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " ".join(f"{cell(name)}={cell(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ",".join(map(cell, value)) or "-"
    text = "" if value is None else str(value)
    if TIME.fullmatch(text):
        text = text[:19].replace("T", " ")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) or "-"
