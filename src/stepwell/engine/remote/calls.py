"""One invocation of a body that lives elsewhere: what it gets to know, and what it answers.

A worker elsewhere runs the body from the top, takes from the journal what has been decided, and goes on until the body
finishes or waits. The words are those of the wire; its exact shapes are `stepwell.formats.voyant`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.engine.program import Origin
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, MessageId

WaitKind = Literal["DATETIME", "EVENT", "SIGNAL", "MANUAL", "RUN"]
AnswerStatus = Literal["completed", "waiting", "failed", "cancelled", "compensated", "compensation_failed"]
Whose = Literal["self", "parent", "root"]


class ChildRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run that a wait of kind RUN is for. Its input is JSON; UNSET: it is given none."""

    workflow: str
    version: str = ""
    input: Raw | UnsetType = UNSET
    tags: dict[str, str] = {}
    is_detached: bool = False
    key: str = ""


class WaitRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that the body waits for. `id` is the worker's, the same at each invocation.

    `name` is what kind has: the event's type, the signal's name, the token. `delay_ms` is how long from now the wait
    lasts at most (DATETIME: exactly); None: without end. `wake_at` (ms) says it absolutely. `where` are fields that an
    event must have. `meta` is all that the worker said of it, as JSON.
    """

    id: str
    kind: WaitKind
    name: str = ""
    delay_ms: int | None = None
    wake_at: int | None = None
    where: Raw = NULL
    child: ChildRequest | None = None
    meta: Raw = NULL


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of metadata, of the run or of one above it. The value is JSON."""

    op: Literal["set", "increment", "append", "remove"]
    key: str
    value: Raw | UnsetType = UNSET
    target: Whose = "self"


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an invocation brought, beside the steps that it ran: those are entries of their own. Kept in the journal as
    the invocation's result, so it holds what is new and nothing else.

    `output` and `error` are as the worker wrote them. `changes` are new changes of metadata, and `changed` is how many
    there were in all generations of the answer. `streams` are streams that are complete now, and their sizes, as JSON.
    `resolved` are waits that the worker itself saw to the end, and `undone` compensations that it noted, both as JSON.
    `reports` is the JSON list of the compensations that it ran. `more` is what else the journal holds, as JSON.
    `speaks` are the worker's abilities beyond the first version of the wire: "cancel" is the one that matters here.
    """

    status: AnswerStatus
    output: Raw | UnsetType = UNSET
    error: Raw = NULL
    failure: Failure | None = None
    waits: tuple[WaitRequest, ...] = ()
    changes: tuple[Change, ...] = ()
    changed: int = 0
    streams: dict[str, Raw] = {}
    resolved: dict[str, Raw] = {}
    undone: dict[str, Raw] = {}
    reports: Raw = NULL
    more: dict[str, Raw] = {}
    speaks: tuple[str, ...] = ()
    steps: int = 0


class Resolution(Struct, frozen=True, kw_only=True):
    """How a wait was over, at `at` (ms). `value` is a payload; UNSET: there is none, as when its time was over.

    `message` is what brought it, if it was a message. `failure` is that of a child, and `status` how that ended.
    """

    kind: WaitKind
    at: int
    name: str = ""
    value: Raw | UnsetType = UNSET
    message: MessageId = MessageId("")
    status: str = ""
    failure: Failure | None = None


class StepLine(NamedTuple):
    """The outcome of a step, and when it was written down (ms)."""

    entry: StepCompleted | StepFailed
    at: int


class RemoteJournal(Protocol):
    """What has been decided about a run so far, in order. Read only; it grows while an invocation goes on."""

    @property
    def origin(self) -> Origin:
        """What the generation starts from: the run, its input, when it began."""

    @property
    def steps(self) -> Mapping[str, StepLine]:
        """By the worker's ids."""

    @property
    def resolved(self) -> Mapping[str, Resolution | Raw]:
        """By the worker's ids of the waits; those that it resolved itself are JSON."""

    @property
    def undone(self) -> Mapping[str, Raw]:
        """Compensations that the worker noted: JSON by step."""

    @property
    def streams(self) -> Mapping[str, Raw]:
        """Streams that are complete: JSON by name."""

    @property
    def more(self) -> Mapping[str, Raw]:
        """What else the worker keeps in its journal: JSON by name."""

    @property
    def metadata(self) -> Mapping[str, Raw]:
        """The run's metadata, as payloads."""

    @property
    def changed(self) -> int:
        """How many changes of metadata have been applied."""


class RemoteCall(Struct, frozen=True):
    """What the step of an invocation gets. `number` counts from 1 over all generations as far as those are known.

    `cancel`: the run is cancelled, for this reason; the body shall clean up and do nothing else. None: it is not.
    """

    id: CommandId
    number: int
    journal: RemoteJournal
    cancel: str | None = None


class RemoteHost(Protocol):
    """What a remote program needs of the layer that knows types and ciphers."""

    def plain(self, raw: Raw) -> Raw:
        """The JSON behind a recorded payload."""

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""

    def input_of(self, workflow: str, version: str, raw: Raw | UnsetType) -> Raw:
        """The payload of a child's input. `CodecError` or `DefinitionError` if it does not fit."""

    def result(self, value: Raw) -> Raw:
        """The payload of the run's result. `CodecError` if it does not fit the workflow's output."""

    def failure_of(self, error: BaseException) -> Failure:
        """The record of an exception."""
