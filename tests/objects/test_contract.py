"""The contract, kept by each store."""

from __future__ import annotations

import pytest

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
