"""The fixture `stepwell`, for checkouts that are not installed: then nobody has registered the plugin."""

from stepwell.testing.plugin import pytest_pyfunc_call, stepwell, stepwell_options

__all__ = ["pytest_pyfunc_call", "stepwell", "stepwell_options"]
