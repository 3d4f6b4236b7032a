"""Replay: a journal against code, without doing anything. The answer to "may I deploy this?".

The program runs through the whole history of the run's last generation, step by step and without the shortcut that
live replay takes, so that the arguments of each step can be compared too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from stepwell.authoring.programs import program_of
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import Definition
from stepwell.codec import Codec
from stepwell.engine.fold import Fold
from stepwell.engine.function import FunctionProgram
from stepwell.engine.graph.outcome import MissingImplementationError
from stepwell.engine.mismatch import Difference
from stepwell.engine.prefix import generation_start
from stepwell.engine.program import Cancelled, Completed, Continue, Failed, Line, Outcome, Program, StepCommand
from stepwell.errors import ActivationError, DefinitionError, SpinError
from stepwell.model.entries import Created, Ended, Frame, StepCompleted
from stepwell.model.ids import CommandId, RunId
from stepwell.model.runs import Status, Wait
from stepwell.runtime.exporting import RunExport, read_export
from stepwell.runtime.sealing import opened


class ReplayReport(Struct, frozen=True, kw_only=True):
    """What replaying a run showed. `error`: why the code cannot go on with it, and `difference` the same in parts.
    `warnings`: what it does otherwise, but may. `impure`: calls that replay cannot repeat. `pending` and `waits`: where
    the run stands after its history. `version` is what the run was started with. `is_missing_code`: the error is that a
    node of the run's blueprint has no implementation here; others may have it."""

    run: RunId
    workflow: str
    entries: int
    version: str = ""
    error: str | None = None
    difference: Difference | None = None
    warnings: tuple[str, ...] = ()
    impure: tuple[str, ...] = ()
    pending: tuple[CommandId, ...] = ()
    waits: tuple[Wait, ...] = ()
    is_missing_code: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether the code can go on with this run."""
        return self.error is None


def replay(
    journal: bytes | RunExport,
    workflow: Definition[Any, Any],
    *,
    include: Sequence[object] = (),
    codec: Codec | None = None,
) -> ReplayReport:
    """Run a workflow through the journal of an exported run. Does no I/O and starts nothing.

    An export without its seed gives the body other random numbers than it had, which may look like a change.
    """
    export = journal if isinstance(journal, RunExport) else read_export(journal)
    registry = Registry([workflow, *include], codec or Codec())
    frames = [(seq, opened(frame, registry.codec)) for seq, frame in export.last_generation]
    return replay_frames(export.head.id, frames, workflow, registry, status=export.head.status)


def replay_frames(
    run: RunId,
    frames: Sequence[tuple[int, Frame]],
    workflow: Definition[Any, Any],
    registry: Registry,
    *,
    status: Status = "waiting",
) -> ReplayReport:
    """Run a workflow through the frames of one generation, the first of which begins it. `status` is the run's."""
    fold = Fold(run, frames)
    begins = fold.begin()
    try:
        program = program_of(workflow, registry, fold.origin, impure_check=True)
    except MissingImplementationError as missing:
        return _unmade(run, workflow, fold, str(missing), is_missing_code=True)
    except DefinitionError as wrong:  # the blueprint that the run is pinned to
        return _unmade(run, workflow, fold, str(wrong))
    asked: Mapping[CommandId, int] = {}
    if isinstance(program, FunctionProgram):
        program.loop.fast = False
        asked = program.record_arguments()
    lines = [*begins, *fold.held]  # what a paused run holds back, it will meet when it is resumed
    has_begun = _has_begun(frames, fold, status)
    error: str | None = None
    difference: Difference | None = None
    pending: list[CommandId] = []
    try:
        program.begin(lines, at=fold.origin.started_at, is_repeat=True)
        pending = [command.id for command in program.take_commands() if isinstance(command, StepCommand)]
        if fold.ended is not None:
            difference = None if _never_began(frames) else _end_differs(program.outcome, fold.ended, registry.codec)
        elif has_begun:
            difference = _breaks_off(program)
        error = None if difference is None else difference.why
    except ActivationError as activation_error:
        error = str(activation_error)
        difference = _difference_of(activation_error, run)
    report = ReplayReport(
        run=run,
        workflow=workflow.id,
        version=fold.origin.created.version,
        entries=len(lines),
        error=error,
        difference=difference,
        warnings=tuple(
            _warnings(lines, asked, is_early=error is None and fold.ended is None and has_begun and program.outcome)
        ),
        impure=tuple(program.impure),
        pending=tuple(pending),
        waits=tuple(program.waits()),
    )
    program.evict()
    return report


def _unmade(
    run: RunId, workflow: Definition[Any, Any], fold: Fold, error: str, *, is_missing_code: bool = False
) -> ReplayReport:
    """Of a run for which there is no program."""
    why, _, cure = error.partition("; ")
    return ReplayReport(
        run=run,
        workflow=workflow.id,
        version=fold.origin.created.version,
        entries=0,
        error=error,
        difference=Difference(why=why, cure=cure),
        is_missing_code=is_missing_code,
    )


def _has_begun(frames: Sequence[tuple[int, Frame]], fold: Fold, status: Status) -> bool:
    """Whether the body has been at the end of its history before. If not, whatever it does there is no change: in a run
    or a generation that perhaps nobody has driven yet, or where a pause holds something back."""
    if fold.is_paused or status == "queued":
        return False
    if len(frames) > 1:
        return fold.has_begun
    return status == "waiting" and isinstance(frames[0][1].entries[-1], Created)


def _never_began(frames: Sequence[tuple[int, Frame]]) -> bool:
    """Whether the run ended, by a cancel, before its body was to begin."""
    return generation_start(frames[0][1]).not_before > frames[-1][1].at


def _warnings(lines: Sequence[Line], asked: Mapping[CommandId, int], *, is_early: object) -> Iterator[str]:
    for line in lines:
        if isinstance(entry := line.entry, StepCompleted) and _differs(entry, asked.get(entry.id)):
            yield f"step {entry.id} was called with other arguments than history #{line.seq} was"
    if is_early:
        yield "the code has finished where history goes no further; the run will end when it is next driven"


def _difference_of(error: ActivationError, run: RunId) -> Difference:
    found = getattr(error, "difference", None)
    if isinstance(found, Difference):
        return found
    # In the same words for all runs, or they could not be told together.
    text = re.sub(rf"\brun {re.escape(run)}(?!\w)", "the run", str(error).removeprefix(f"run {run}: "))
    cure = "await something in the loop that does not wait" if isinstance(error, SpinError) else "do it in a step"
    return Difference(why=text, cure=cure)


def _differs(entry: StepCompleted, asked: int | None) -> bool:
    return bool(entry.args) and asked is not None and asked != entry.args


def _end_differs(outcome: Outcome | None, ended: Ended, codec: Codec) -> Difference | None:
    if ended.status in ("terminated", "dead"):
        return None
    if isinstance(outcome, Completed) and ended.status == "completed":
        old, new = (codec.opened(raw, where="the result of the run") for raw in (ended.value, outcome.value))
        if old == new:
            return None
        given = f"the run completed with {_short(old)}, the code gives {_short(new)}"
        return Difference(why=given, cure=_VERSION)
    found = _status_of(outcome)
    if found == ended.status:
        return None
    return Difference(why=f"the run ended as {ended.status}; the code {_SAYS[found]}", cure=_VERSION)


def _breaks_off(program: Program) -> Difference | None:
    """How the code would spoil a run that goes on."""
    if isinstance(program.outcome, Failed):
        return Difference(why=f"the code fails the run, which was going on: {program.outcome.failure}", cure=_VERSION)
    if (place := program.stuck_at()) is not None:
        return Difference(
            place=place,
            why="the code waits for what nothing in the run can bring",
            cure="wait for steps, timers, messages or children",
        )
    return None


_VERSION = "keep what the code did for runs that are there: ctx.patched(...), or a new version beside the old one"
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
