"""Logging from a workflow body: with the run's id, and only once."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from stepwell.engine.function import FunctionProgram


class RunLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that knows its run, and says nothing on replay."""

    def __init__(self, program: FunctionProgram, logger: logging.Logger) -> None:
        super().__init__(logger, {"run_id": program.origin.run})
        self._program = program

    def isEnabledFor(self, level: int) -> bool:
        """No, while replaying."""
        return not self._program.is_replaying and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the run's id in front."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return f"[{self._program.origin.run}] {msg}", kwargs
