import pytest

pytest.register_assert_rewrite("stepwell.testing.contracts")
