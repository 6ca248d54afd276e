import pytest

pytest.register_assert_rewrite("tests.registry.balance", "tests.registry.bodies")
