"""What happened to a run, as values: the items of a timeline."""

from __future__ import annotations

from typing import Literal, TypeVar

from msgspec import Raw, Struct

from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, MessageId, RunId


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt of a step. Times in ms; `retry_at` is when the next one starts."""

    number: int
    started_at: int
    ms: int
    is_ok: bool = False
    error: str = ""
    retry_at: int | None = None


class _Item(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What all items share: the frame that first told of it, and the run's time then."""

    seq: int
    at: int


class StepItem(_Item, tag="step", frozen=True, kw_only=True, omit_defaults=True):
    """A step. `status` is "retrying" between a failed attempt and the outcome; `base` names the generation."""

    id: CommandId
    name: str
    base: int
    status: Literal["completed", "failed", "retrying"] = "retrying"
    started_at: int
    ended_at: int | None = None
    attempts: tuple[Attempt, ...] = ()
    value: Raw = NULL
    failure: Failure | None = None
    progress: Raw = NULL


class TimerItem(_Item, tag="timer", frozen=True, kw_only=True, omit_defaults=True):
    """A timer that fired."""

    name: str
    due: int


class MessageItem(_Item, tag="message", frozen=True, kw_only=True, omit_defaults=True):
    """A signal, an event, the completion of a hook, or the answer to a node. `accepted_at`: when the store took it."""

    source: Literal["signal", "event", "hook", "answer"]
    name: str
    id: MessageId
    accepted_at: int
    value: Raw = NULL
    dropped: str = ""


class ControlItem(_Item, tag="control", frozen=True, kw_only=True, omit_defaults=True):
    """Somebody steered the run."""

    action: Literal["cancel", "terminate", "pause", "resume"]
    id: MessageId
    reason: str = ""
    grace_ms: int | None = None


class ChildItem(_Item, tag="child", frozen=True, kw_only=True, omit_defaults=True):
    """A child run. `status`: "starting", "started", "refused", or how it ended."""

    id: CommandId
    run: RunId
    workflow: str
    base: int
    status: str = "starting"
    is_detached: bool = False
    ended_at: int | None = None
    failure: Failure | None = None


class ActItem(_Item, tag="act", frozen=True, kw_only=True, omit_defaults=True):
    """What the run did to others, children apart. `status`: "intended", "done" or "refused"."""

    id: CommandId
    base: int
    what: Literal["cancel_child", "send_signal", "send_metadata", "open_hook", "subscribe"]
    target: str
    status: str = "intended"
    failure: Failure | None = None


class MetadataItem(_Item, tag="metadata", frozen=True, kw_only=True, omit_defaults=True):
    """Metadata that changed; null is removed."""

    values: dict[str, Raw]


class PatchItem(_Item, tag="patch", frozen=True, kw_only=True, omit_defaults=True):
    """The run passed a guard as new code."""

    id: str


class ChunkItem(_Item, tag="chunks", frozen=True, kw_only=True, omit_defaults=True):
    """Chunks that the body sent to a stream, counted per frame."""

    stream: str
    count: int


class GenerationItem(_Item, tag="generation", frozen=True, kw_only=True, omit_defaults=True):
    """The run started again: by `continue_as_new`, or as its `retries`-th retry, not before `not_before`."""

    input: Raw = NULL
    retries: int = 0
    not_before: int = 0


class StartItem(_Item, tag="start", frozen=True, kw_only=True, omit_defaults=True):
    """The body began, at `at`, `late_ms` after it could at the earliest: there was a queue, or no worker."""

    late_ms: int


class EndItem(_Item, tag="end", frozen=True, kw_only=True, omit_defaults=True):
    """The run's end."""

    status: str
    value: Raw = NULL
    failure: Failure | None = None
    reason: str = ""


Item = (
    StepItem
    | TimerItem
    | MessageItem
    | ControlItem
    | ChildItem
    | ActItem
    | MetadataItem
    | PatchItem
    | ChunkItem
    | GenerationItem
    | StartItem
    | EndItem
)
I = TypeVar("I", bound=Struct)  # noqa: E741


class Timeline(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to a run. `at` is the run's time as of its last frame; `end` is None while it is open. Its body did
    not begin before `not_before`.

    Items are in order of their first frame; a fork's begin with what it took from its origin.
    """

    run: RunId
    workflow: str
    version: str = ""
    created_at: int
    at: int
    input: Raw = NULL
    parent: RunId | None = None
    forked_from: RunId | None = None
    deadline: int | None = None
    not_before: int = 0
    tags: dict[str, str] = {}
    metadata: dict[str, Raw] = {}
    generations: int = 1
    frames: int = 0
    is_paused: bool = False
    items: tuple[Item, ...] = ()
    end: EndItem | None = None

    @property
    def status(self) -> str:
        """How it ended; "paused" or "open" while it has not."""
        if self.end is not None:
            return self.end.status
        return "paused" if self.is_paused else "open"

    @property
    def steps(self) -> list[StepItem]:
        """The steps, in order of their first outcome."""
        return self.of(StepItem)

    @property
    def children(self) -> list[ChildItem]:
        """The child runs, in order of their start."""
        return self.of(ChildItem)

    def of(self, kind: type[I]) -> list[I]:
        """The items of one kind."""
        return [item for item in self.items if isinstance(item, kind)]
