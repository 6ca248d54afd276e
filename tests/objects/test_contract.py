"""The contract, kept by each store."""

from __future__ import annotations

import pytest
import pytest_twisted

from artifactapi.objects import s3_writer
from artifactapi.objects.observed import Observed
from tests.objects.contract import StoreContract


class TestFilesystem(StoreContract):
    """Files of one directory tree."""


class TestObserved(StoreContract):
    """A store that is watched is the store it was."""

    @pytest.fixture
    def store(self, store):
        """The filesystem's, watched."""
        return Observed(store, lambda operation, outcome, seconds: None)


class TestS3(StoreContract):
    """A bucket, where all that the tests write is less than a part."""

    TELLS_LOSERS = False

    @pytest_twisted.async_yield_fixture
    async def store(self, s3_store):
        """With parts as they are."""
        yield s3_store


class TestS3Parts(StoreContract):
    """A bucket, where the tests write objects of several parts."""

    TELLS_LOSERS = False

    @pytest_twisted.async_yield_fixture
    async def store(self, s3_store, monkeypatch):
        """With parts as small as S3 takes them."""
        monkeypatch.setattr(s3_writer, "PART", 5 * 1024 * 1024)
        yield s3_store
