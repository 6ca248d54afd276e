"""The log on standard output: a line an event, as text or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str
from zope.interface import implementer

FORMATS = ("text", "json")


@implementer(ILogObserver)  # twistd would translate each event for anything else
class Observer:
    """Writes a line an event."""

    def __init__(self, line: Callable[[LogEvent], str], stream: TextIO | None) -> None:
        self._line = line
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """Write it."""
        write(self._stream, self._line(event))


def text_observer(stream: TextIO | None = None) -> Observer:
    """`time LEVEL text`, with a traceback below where there is one."""
    return Observer(text_line, stream)


def json_observer(stream: TextIO | None = None) -> Observer:
    """An object a line: time, level, logger, message, and the event's own fields."""
    return Observer(json_line, stream)


def write(stream: TextIO | None, line: str) -> None:
    """One line, at once; a log that cannot be written must not end a request."""
    out = stream or sys.__stdout__
    if out is not None:
        try:
            out.write(line + "\n")
            out.flush()
        except (OSError, ValueError):
            pass


def time_of(event: LogEvent) -> str:
    """RFC 3339 with milliseconds, UTC."""
    milliseconds = int(event.get("log_time", 0.0) * 1000)
    return f"{second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(2)
def second(seconds: int) -> str:
    """Kept, because a busy registry logs thousands of lines in each."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def message_of(event: LogEvent) -> str:
    """The event's text; by str.format where that will do, since Twisted's takes ten times as long."""
    try:
        return str(event["log_format"].format_map(event))
    except Exception:  # a format with calls, a legacy event, a field that cannot be shown
        return formatEvent(event)


def level_of(event: LogEvent) -> str:
    """The level's name."""
    return str(getattr(event.get("log_level", LogLevel.info), "name", "info"))


def text_line(event: LogEvent) -> str:
    """The event as text."""
    line = f"{time_of(event)} {level_of(event).upper()} {one_line(message_of(event))}"
    failure = event.get("log_failure")
    return f"{line}\n{failure.getTraceback().rstrip()}" if isinstance(failure, Failure) else line


def json_line(event: LogEvent) -> str:
    """The event as JSON."""
    shown: dict[str, Any] = {
        "time": time_of(event),
        "level": level_of(event),
        "logger": event.get("log_namespace", ""),
        "message": message_of(event),
    }
    shown |= {key: plain(value) for key, value in event.items() if key not in shown and is_own(key)}
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        shown["traceback"] = failure.getTraceback()
    return json.dumps(shown, default=str)


def is_own(key: str) -> bool:
    """Whether the field is the event's, and not twisted.logger's or the legacy log's."""
    return not key.startswith("log_") and key not in ("isError", "format", "failure", "why", "system", "printed")


def plain(value: object) -> object:
    """A value JSON can show as it is, or its text."""
    return value if isinstance(value, str | int | float | bool | None) else safe_str(value)


def one_line(text: str) -> str:
    """No line break of a client's making in the log, and nothing else that a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
