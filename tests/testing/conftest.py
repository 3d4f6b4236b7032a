"""The plugin, for checkouts that are not installed: then nobody has registered its entry point."""

from stepwell.testing.plugin import pytest_pyfunc_call, stepwell, stepwell_options

__all__ = ["pytest_pyfunc_call", "stepwell", "stepwell_options"]
