"""The outside world of a simulation: what steps did to it, and when they stood on something that was not durable.

Every execution of a step draws a mark, "~17~", which its result carries. So it can be told from any text whether what
it stands on has been journaled: another execution of the same step would have left another mark.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from stepwell.model.ids import CommandId, RunId

MARK = re.compile(r"~\d+~")
MARK_BYTES = re.compile(rb"~\d+~")


class Execution(Struct, kw_only=True):
    """One execution of a step's body, in a process whose claims begin with `identity`. `over`: how it ended."""

    mark: str
    run: RunId
    step: CommandId
    attempt: int
    at: int
    process: str
    identity: str
    sends: int = 0
    over: str = ""


class Ledger:
    """All that steps did. `on_begin` looks at each execution before it does anything, `on_return` at those that end of
    themselves."""

    def __init__(
        self, on_begin: Callable[[Execution, Iterable[str]], None], on_return: Callable[[Execution], None]
    ) -> None:
        self.executions: list[Execution] = []
        self.counts: Counter[tuple[RunId, CommandId]] = Counter()
        self._on_begin = on_begin
        self._on_return = on_return

    def begin(self, execution: Execution, stands_on: Iterable[str]) -> int:
        """Note an execution; answers how many there were of this step of this run, with this one."""
        count = self.note(execution)
        self._on_begin(execution, stands_on)
        return count

    def note(self, execution: Execution) -> int:
        """The same for one that no worker of ours does."""
        self.executions.append(execution)
        self.counts[execution.run, execution.step] += 1
        return self.counts[execution.run, execution.step]

    def finish(self, execution: Execution, over: str) -> None:
        """The body returned, raised, or was told to stop."""
        execution.over = over
        if over in ("returned", "UnluckyError", "Broken", "FatalError"):
            self._on_return(execution)

    def new_mark(self) -> str:
        """A mark that nothing else has."""
        return f"~{len(self.executions) + 1}~"

    def sends(self, mark: str) -> int:
        """How many chunks the execution with this mark sent."""
        return self.executions[int(mark.strip("~")) - 1].sends


def marks_in(value: object) -> list[str]:
    """The marks in a result, in order."""
    if isinstance(value, str):
        return MARK.findall(value)
    if isinstance(value, list | tuple):
        return [mark for item in value for mark in marks_in(item)]
    return []


async def forever() -> None:
    """Wait until somebody kills this process."""
    await asyncio.get_running_loop().create_future()
