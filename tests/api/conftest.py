"""Fixtures of the API's tests."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from twisted.logger import globalLogPublisher

from artifactapi.logs import text_observer


@pytest.fixture
def log_text() -> Iterator[io.StringIO]:
    """The log of the test."""
    text = io.StringIO()
    observer = text_observer(text)
    globalLogPublisher.addObserver(observer)
    yield text
    globalLogPublisher.removeObserver(observer)
