"""Replay: a journal against code, without doing anything. The answer to "may I deploy this?".

The program runs through the whole history of the run's last generation, step by step and without the shortcut that
live replay takes, so that the arguments of each step can be compared too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from stepwell.authoring.context import function_program
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import Workflow
from stepwell.codec import Codec
from stepwell.engine.fold import Fold
from stepwell.engine.program import Cancelled, Completed, Continue, Failed, Outcome, StepCommand
from stepwell.errors import ActivationError
from stepwell.model.entries import Ended, Frame, StepCompleted
from stepwell.model.ids import CommandId, RunId
from stepwell.model.runs import Wait
from stepwell.runtime.exporting import RunExport, read_export


class ReplayReport(Struct, frozen=True, kw_only=True):
    """What replaying a run showed. `error`: why the code cannot go on with it. `warnings`: what it does otherwise, but
    may. `impure`: calls that replay cannot repeat. `pending` and `waits`: where the run stands after its history."""

    run: RunId
    workflow: str
    entries: int
    error: str | None = None
    warnings: tuple[str, ...] = ()
    impure: tuple[str, ...] = ()
    pending: tuple[CommandId, ...] = ()
    waits: tuple[Wait, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the code can go on with this run."""
        return self.error is None


def replay(
    journal: bytes | RunExport,
    workflow: Workflow[Any, Any],
    *,
    include: Sequence[object] = (),
    codec: Codec | None = None,
) -> ReplayReport:
    """Run a workflow through the journal of an exported run. Does no I/O and starts nothing.

    An export without its seed gives the body other random numbers than it had, which may look like a change.
    """
    export = journal if isinstance(journal, RunExport) else read_export(journal)
    registry = Registry([workflow, *include], codec or Codec())
    return replay_frames(export.head.id, export.last_generation, workflow, registry)


def replay_frames(
    run: RunId, frames: Sequence[tuple[int, Frame]], workflow: Workflow[Any, Any], registry: Registry
) -> ReplayReport:
    """Run a workflow through the frames of one generation, the first of which begins it."""
    fold = Fold(run, frames)
    program = function_program(workflow, registry, fold.origin, impure_check=True)
    program.loop.fast = False
    asked = program.record_arguments()
    lines = list(fold.lines)
    error: str | None = None
    pending: list[CommandId] = []
    try:
        program.begin(lines, at=fold.origin.started_at, is_repeat=True)
        pending = [command.id for command in program.take_commands() if isinstance(command, StepCommand)]
        error = _end_differs(program.outcome, fold.ended)
    except ActivationError as activation_error:
        error = str(activation_error)
    warnings = [
        f"step {entry.id} was called with other arguments than history #{line.seq} was"
        for line in lines
        if isinstance(entry := line.entry, StepCompleted) and _differs(entry, asked.get(entry.id))
    ]
    if error is None and fold.ended is None and program.outcome is not None:
        warnings.append("the code has finished where history goes no further; the run will end when it is next driven")
    report = ReplayReport(
        run=run,
        workflow=workflow.id,
        entries=len(lines),
        error=error,
        warnings=tuple(warnings),
        impure=tuple(program.impure),
        pending=tuple(pending),
        waits=tuple(program.waits()),
    )
    program.evict()
    return report


def _differs(entry: StepCompleted, asked: int | None) -> bool:
    return bool(entry.args) and asked is not None and asked != entry.args


def _end_differs(outcome: Outcome | None, ended: Ended | None) -> str | None:
    if ended is None or ended.status in ("terminated", "dead"):
        return None
    if isinstance(outcome, Completed) and ended.status == "completed":
        same = bytes(outcome.value) == bytes(ended.value)
        return None if same else f"the run completed with {_short(ended.value)}, the code gives {_short(outcome.value)}"
    found = _status_of(outcome)
    return None if found == ended.status else f"the run ended as {ended.status}; the code {_SAYS[found]}"


_SAYS = {
    "completed": "completes it",
    "failed": "fails it",
    "cancelled": "gives in to a cancel",
    "continued": "continues as new",
    "open": "waits for more than history holds",
}


def _status_of(outcome: Outcome | None) -> str:
    match outcome:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case Continue():
            return "continued"
        case None:
            return "open"


def _short(raw: Any) -> str:
    text = bytes(raw).decode(errors="replace")
    return text if len(text) <= 80 else f"{text[:77]}..."
