"""The fixture `stepwell`, for what is tested in virtual time."""

from __future__ import annotations

from stepwell.testing.plugin import pytest_pyfunc_call, stepwell, stepwell_options

__all__ = ["pytest_pyfunc_call", "stepwell", "stepwell_options"]
