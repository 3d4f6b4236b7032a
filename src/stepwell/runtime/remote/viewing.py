"""A remote run looked at: its program, replayed without a worker. Also where nobody has a target for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteBinding, RemoteHostOf, RemoteWorkflow, remote_program
from stepwell.engine.fold import Fold
from stepwell.engine.program import Origin
from stepwell.engine.remote.calls import Answer, WaitRequest
from stepwell.engine.remote.program import RemoteProgram
from stepwell.errors import ActivationError, CodecError
from stepwell.formats.voyant import RemoteView
from stepwell.formats.voyant.record import Waitpoint
from stepwell.model.entries import AttemptFailed, ContinuedAsNew, Frame, StepCompleted, StepFailed
from stepwell.model.failures import NULL
from stepwell.model.ids import is_invocation
from stepwell.model.runs import Head
from stepwell.runtime.remote.wire_journal import wire_journal


def is_remote(registry: Registry, workflow: str, version: str, frames: Sequence[tuple[int, Frame]]) -> bool:
    """Whether the body of a run lives elsewhere: its journal says so, or, before anything was done, this app. The code
    of a workflow may have moved since the run began."""
    found = _ran_elsewhere(frame for _, frame in frames)
    return isinstance(registry.find(workflow, version), RemoteWorkflow) if found is None else found


def remote_view(
    registry: Registry, head: Head, frames: Sequence[tuple[int, Frame]], opened: Callable[[Raw], Raw]
) -> RemoteView | None:
    """What the worker of a run made of it. None: it is no remote run, or its key is not here. `opened` gives the JSON
    of a payload."""
    if not is_remote(registry, head.workflow, head.version, frames):
        return None
    fold = Fold(head.id, last_generation(frames))
    lines = fold.begin()
    program = _program(registry, fold.origin)
    try:
        last = _last_answer(registry, frames)
        program.begin(lines, at=fold.origin.started_at, is_repeat=True)
    except CodecError:
        return None
    except ActivationError:
        pass  # as far as the code here follows it; whether that can go on is for its worker to say
    view = RemoteView(
        journal=wire_journal(program.journal, opened),
        pending=[_waitpoint(wait, due) for wait, due in program.pending],
        invocations=program.invocations,
        changes=program.journal.changed,
        status=program.status,
        error=NULL if last is None else last.error,
    )
    program.evict()
    return view


def last_generation(frames: Sequence[tuple[int, Frame]]) -> Sequence[tuple[int, Frame]]:
    """The frames from that on which began it."""
    for index in range(len(frames) - 1, 0, -1):
        if isinstance(frames[index][1].entries[-1], ContinuedAsNew):
            return frames[index:]
    return frames


def _ran_elsewhere(frames: Iterable[Frame]) -> bool | None:
    """Whether a worker elsewhere ran the first step, or was to be asked; None: there is no step."""
    for frame in frames:
        for entry in frame.entries:
            if isinstance(entry, StepCompleted | StepFailed):
                return bool(entry.via) or is_invocation(entry.id)
            if isinstance(entry, AttemptFailed):
                return is_invocation(entry.id)
            if isinstance(entry, ContinuedAsNew) and (found := _ran_elsewhere(entry.history)) is not None:
                return found
    return None


def _program(registry: Registry, origin: Origin) -> RemoteProgram:
    created = origin.created
    definition = registry.find(created.workflow, created.version)
    if isinstance(definition, RemoteWorkflow):
        return remote_program(registry, definition, origin)
    stranger: RemoteWorkflow[Any, Any] = RemoteWorkflow(created.workflow)
    binding = RemoteBinding(registry, stranger.worker_retry)
    return RemoteProgram(binding, origin, _Onlooker(registry, stranger), cleanup=binding)


def _last_answer(registry: Registry, frames: Sequence[tuple[int, Frame]]) -> Answer | None:
    """What the last invocation brought."""
    for _, frame in reversed(frames):
        for entry in reversed(frame.entries):
            if isinstance(entry, StepCompleted) and is_invocation(entry.id):
                answer: Answer = registry.codec.typed(Answer).decode(entry.value, where="the answer of a worker")
                return answer
            if isinstance(entry, StepFailed) and is_invocation(entry.id):
                return None
    return None


def _waitpoint(wait: WaitRequest, due: int | None) -> Waitpoint:
    """A wait in the words of the worker; of a sleep, when it ends, which the first to name it has decided."""
    meta: dict[str, Any] = {} if wait.meta == NULL else msgspec.json.decode(wait.meta, type=dict[str, Raw])
    if wait.kind == "DATETIME" and due is not None:
        meta.setdefault("wakeAt", due)
    timeout = UNSET if wait.delay_ms is None else wait.delay_ms
    return Waitpoint(client_waitpoint_id=wait.id, kind=wait.kind, meta=meta, timeout_ms=timeout)


class _Onlooker(RemoteHostOf):
    """What the program of a run needs of an app that knows nothing of its workflow, and that does nothing for it."""

    def input_of(self, workflow: str, version: str, raw: Raw | UnsetType) -> Raw:  # noqa: ARG002
        """The payload of a child's input: it was given long ago."""
        return NULL if raw is UNSET else self.sealed(raw)

    def result(self, value: Raw) -> Raw:
        """The payload of the run's result."""
        return value
