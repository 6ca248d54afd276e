"""The log: a line an event, as text or as JSON."""

from __future__ import annotations

import io
import json
import re

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from twisted.python import log as legacy
from zope.interface.verify import verifyObject

from artifactapi.logs import json_observer, text_observer

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def emit(observer, level: LogLevel = LogLevel.info, text: str = "hello {who}", **fields) -> None:
    """One event of a logger called `tests`."""
    Logger(namespace="tests", observer=observer).emit(level, text, **fields)


@pytest.fixture
def stream() -> io.StringIO:
    """What would be standard output."""
    return io.StringIO()


def test_they_are_observers(stream):
    """Both are what twisted.logger asks for, so that twistd takes events to them as they are."""
    for observer in (text_observer(stream), json_observer(stream)):
        assert verifyObject(ILogObserver, observer)


@pytest.mark.parametrize(
    "text, fields, line",
    [
        ("hello {who}", {"who": "world"}, "hello world"),
        ("{who.upper}", {"who": 5}, None),
        ("{who()}", {"who": lambda: "called"}, "called"),
        ("{n:05.1f} {o[key]}", {"n": 2.25, "o": {"key": "v"}}, "002.2 v"),
        ("100 % {{braces}}", {}, "100 % {braces}"),
        ("a {who}", {"who": "x\r\nFAKE LINE\n"}, "a x\\r\\nFAKE LINE\\n"),
        ("naïve ☃", {}, "naïve ☃"),
    ],
)
def test_text(stream, text, fields, line):
    """An event is one line: time, level, text, whatever is in its fields, and whatever is wrong with its format."""
    emit(text_observer(stream), LogLevel.warn, text, **fields)
    [shown] = stream.getvalue().splitlines()
    assert re.fullmatch(rf"{TIME} WARN .+", shown)
    if line is not None:
        assert shown.split(" WARN ")[1] == line


def test_json(stream):
    """An event is one object: its time, level, logger and text, and its own fields."""
    emit(json_observer(stream), LogLevel.error, who="a\nb", n=5, ok=True, none=None, other=LogLevel.info, _=1.5)
    [line] = stream.getvalue().splitlines()
    shown = json.loads(line)
    assert re.fullmatch(TIME, shown.pop("time"))
    assert shown.pop("other") == str(LogLevel.info)
    assert shown == {
        "level": "error", "logger": "tests", "message": "hello a\nb",
        "who": "a\nb", "n": 5, "ok": True, "none": None, "_": 1.5,
    }  # fmt: skip


def test_json_keeps_its_own_names(stream):
    """A field called like one of the line's own does not hide it."""
    json_observer(stream)({"log_format": "real", "message": "fake", "level": "fake", "time": "fake"})
    shown = json.loads(stream.getvalue())
    assert (shown["message"], shown["level"], shown["time"][:4]) == ("real", "info", "1970")


@pytest.mark.parametrize("observer", [text_observer, json_observer])
def test_failures(stream, observer):
    """An error is shown with its traceback."""
    logger = Logger(namespace="tests", observer=observer(stream))
    try:
        raise KeyError("lost")
    except KeyError:
        logger.failure("it went wrong")
    shown = stream.getvalue()
    if observer is json_observer:
        [line] = shown.splitlines()
        shown = json.loads(line)["traceback"]
    assert "Traceback" in shown
    assert "KeyError: 'lost'" in shown


@pytest.mark.parametrize("observer", [text_observer, json_observer])
def test_legacy_events(stream, observer):
    """What older parts of Twisted log is a line like others."""
    made = observer(stream)
    globalLogPublisher.addObserver(made)
    try:
        legacy.msg("from twisted.python.log")
    finally:
        globalLogPublisher.removeObserver(made)
    assert "from twisted.python.log" in stream.getvalue()


class Unshowable:
    """A value that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("observer", [text_observer, json_observer])
def test_a_value_that_cannot_be_shown(stream, observer):
    """An event that cannot be shown is still a line, and no error of whoever logged it."""
    emit(observer(stream), who=Unshowable())
    assert len(stream.getvalue().splitlines()) == 1


class Broken(io.StringIO):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("observer", [text_observer, json_observer])
def test_a_log_that_cannot_be_written(observer):
    """A log that cannot be written, or is closed, ends no request."""
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        emit(observer(stream), who="nobody")


def test_time(stream):
    """The time is the event's, in UTC, with milliseconds."""
    for time, shown in ((0.0, "1970-01-01T00:00:00.000Z"), (1_700_000_000.9996, "2023-11-14T22:13:20.999Z")):
        text_observer(stream)({"log_time": time, "log_format": "x", "log_level": LogLevel.info})
        assert stream.getvalue().splitlines()[-1] == f"{shown} INFO x"
