"""What has been decided about a run whose body lives elsewhere, as its worker sees it."""

from __future__ import annotations

from msgspec import UNSET, Raw

from stepwell.engine.notes import Notes
from stepwell.engine.program import Origin
from stepwell.engine.remote.calls import Answer, Resolution, StepLine, WaitRequest
from stepwell.model.entries import Received, StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId
from stepwell.model.messages import ChildEnded

AFTER = b'"after":'
"""In the records of steps that our own workers wrote: after how many resolved waits it was."""


class Journal:
    """The journal of one generation: steps, waits that are over, streams. It only grows."""

    __slots__ = ("_notes", "changed", "more", "origin", "resolved", "steps", "streams", "undone")

    def __init__(self, origin: Origin, notes: Notes) -> None:
        self.origin = origin
        self.steps: dict[str, StepLine] = {}
        self.resolved: dict[str, Resolution | Raw] = {}
        self.undone: dict[str, Raw] = {}
        self.streams: dict[str, Raw] = {}
        self.more: dict[str, Raw] = {}
        self.changed = 0
        self._notes = notes

    @property
    def metadata(self) -> dict[str, Raw]:
        """The run's metadata."""
        return self._notes.metadata

    def seed(self, at: int) -> None:
        """Put in the results that the run was created with."""
        seeds = self.origin.created.seeds if self.origin.base == 1 else {}
        for n, (id, value) in enumerate(seeds.items()):
            self.steps[id] = StepLine(StepCompleted(id=CommandId(id), value=value), at + n)

    def add_step(self, entry: StepCompleted | StepFailed, at: int) -> None:
        """A step has been run. The first outcome counts."""
        self.steps.setdefault(entry.id, StepLine(entry, at))

    def add(self, answer: Answer) -> None:
        """Take over what an answer brought, metadata apart."""
        self.streams.update(answer.streams)
        self.undone.update(answer.undone)
        self.more.update(answer.more)
        self.resolved.update(answer.resolved)
        self.changed = max(self.changed, answer.changed)


def resolution_of(wait: WaitRequest, received: Received, at: int) -> Resolution:
    """What a message makes of the wait that it ends."""
    message = received.message
    if isinstance(message, ChildEnded):
        has_value = message.status == "completed" and message.value != NULL
        return Resolution(
            kind=wait.kind,
            at=at,
            name=wait.name,
            value=message.value if has_value else UNSET,
            message=received.id,
            status=message.status,
            failure=message.failure,
        )
    value = getattr(message, "value", NULL)
    return Resolution(kind=wait.kind, at=at, name=wait.name, value=value, message=received.id)


def started(wait: WaitRequest, failure: Failure | None, at: int) -> Resolution:
    """How the wait for a child is over that nobody waits for, or that could not be started."""
    status = "started" if failure is None else "failed"
    return Resolution(kind=wait.kind, at=at, name=wait.name, failure=failure, status=status)
