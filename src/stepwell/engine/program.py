"""The seam between a run's journal and what decides its next commands.

A program is fed journal entries, one at a time and in order, and answers with commands. It never waits for the world,
reads a clock or draws a random number. Function, graph and remote programs all look like this from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, Protocol

from msgspec import Raw, Struct

from stepwell.model.entries import Act, Created, Entry, Received
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.model.policies import StepOptions
from stepwell.model.runs import Wait


class StepDefinition(Protocol):
    """What the engine needs to know of a step: how to tell it apart, and how its result is written down."""

    @property
    def options(self) -> StepOptions: ...

    def decode_result(self, raw: Raw) -> Any:
        """The value that the body sees."""

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """Arguments that share nothing with the body's objects, and a checksum of them."""


class StepCommand:
    """Run this step. Mutable on purpose: it lives from the body's call to the journaled outcome.

    `attempt` is the next attempt's number; `not_before` (ms) and `progress` come from the last failed attempt.
    `answer` holds the decoded result between the step's end and its frame, so that it is not decoded twice. `context`
    is a copy of the caller's: context variables set in a workflow reach its inline steps.
    """

    __slots__ = (
        "answer",
        "args",
        "args_sum",
        "attempt",
        "context",
        "definition",
        "id",
        "issued_at",
        "kwargs",
        "not_before",
        "progress",
    )

    def __init__(
        self,
        id: CommandId,
        definition: StepDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        issued_at: int,
        args_sum: int = 0,
    ) -> None:
        self.id = id
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.issued_at = issued_at
        self.args_sum = args_sum
        self.attempt = 1
        self.not_before = 0
        self.progress: Raw = NULL
        self.answer: Any = UNANSWERED
        self.context = copy_context()


class _Unanswered:
    def __repr__(self) -> str:
        return "UNANSWERED"


UNANSWERED = _Unanswered()


class ActCommand(Struct, frozen=True):
    """Do this to something outside of the run, once."""

    id: CommandId
    act: Act


class Abandon(Struct, frozen=True):
    """Nobody waits for this command any more: stop its step, forget its result."""

    id: CommandId


Command = StepCommand | ActCommand | Abandon


class Completed(Struct, frozen=True):
    """The program finished with a value."""

    value: Raw


class Failed(Struct, frozen=True):
    """The program finished with an error."""

    failure: Failure


class Cancelled(Struct, frozen=True):
    """The program gave in to a cancel."""


class Continue(Struct, frozen=True):
    """The program wants to start again with this input; `unread` are the messages that it has not looked at."""

    input: Raw
    unread: tuple[Received, ...] = ()


Outcome = Completed | Failed | Cancelled | Continue


class Line(Struct, frozen=True):
    """An entry with its place in the journal: frame `seq`, at run time `at`."""

    seq: int
    at: int
    entry: Entry


class Origin(Struct, frozen=True, kw_only=True):
    """What a generation of a run starts from: constant over all its replays. `born_at`: when the run was created.
    `blueprint`: the one that it goes by, if that is written down.
    `retries`: how often it began before, by its retry policy.

    `started_at`: when the body began; `is_late`: the journal does not say so yet. `unread` and `early` are messages
    that came before that, to the generation before and to this one.
    """

    run: RunId
    base: int
    created: Created
    input: Raw
    blueprint: Raw = NULL
    seed: str
    started_at: int
    born_at: int
    random_base: int
    retries: int = 0
    is_late: bool = False
    unread: tuple[Received, ...] = ()
    early: tuple[Received, ...] = ()


class Program(Protocol):
    """Decides what happens next in one generation of one run."""

    @property
    def outcome(self) -> Outcome | None:
        """How it finished, or None while it has not."""

    @property
    def now_ms(self) -> int:
        """The program's time: that of the last line it was fed."""

    @property
    def metadata(self) -> dict[str, Raw]:
        """The run's metadata as of now."""

    @property
    def has_urgent_notes(self) -> bool:
        """Whether the notes should not wait for another reason to write a frame."""

    @property
    def impure(self) -> Sequence[str]:
        """Calls that replay cannot repeat, with their places, where that is looked for."""

    def stuck_at(self) -> str | None:
        """Where it waits, if nothing that a journal can hold would ever move it again."""

    def begin(self, history: Sequence[Line], *, at: int, is_repeat: bool) -> None:
        """Start, and replay `history`. `is_repeat`: all of this was executed before, so logs stay silent.

        Raises `ActivationError` if the code does not fit the history.
        """

    def apply(self, entry: Entry, at: int) -> None:
        """Feed one live entry and run until nothing can move."""

    def take_commands(self) -> list[Command]:
        """The commands issued since last asked, in order."""

    def take_notes(self) -> list[Entry]:
        """Entries to journal with the next frame: metadata, stream chunks, patches."""

    def next_due(self) -> int | None:
        """When the earliest timer is due."""

    def is_racing(self, until: int) -> bool:
        """Whether a timer is due by `until`, and the body waits for messages, too."""
        ...

    def due_timers(self, until: int) -> list[tuple[int, int, str]]:
        """Pending timers due by `until`: (number, due, name), in the order in which they fire."""

    def waits(self) -> list[Wait]:
        """What it waits for, except steps."""

    def evict(self) -> None:
        """Leave memory without side effects."""
