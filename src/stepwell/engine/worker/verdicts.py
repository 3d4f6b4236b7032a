"""What an invocation of ours comes to."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.engine.remote.calls import AnswerStatus, Change
from stepwell.engine.worker.desk import Waitpoint
from stepwell.engine.worker.journal import Delayed
from stepwell.model.failures import Failure


class Place(Struct, frozen=True, kw_only=True):
    """Where a step stands in the order of things: to be written into its entry. `finished_at` is in the run's time,
    which never runs back."""

    after: int
    finished_at: int
    patches: tuple[str, ...] = ()


class Undone(Struct, frozen=True, kw_only=True):
    """A step that was undone, or with `failure` was not. `step` is the id of the step itself."""

    step: str
    failure: Failure | None = None
    ms: int = 0


class Resolved(Struct, frozen=True, kw_only=True):
    """A wait whose time was over while steps ran."""

    at: int
    kind: Literal["DATETIME"] = "DATETIME"


class Verdict(Struct, frozen=True, kw_only=True):
    """How an invocation ends. All values are JSON, and what belongs to the run as a whole is whole: `changes`,
    `compensations`, `sent`, `delayed` and `patches`. `resolved` and `streams` are to be added to what the journal has.

    `sent` is how many chunks of its streams the body has sent, while it goes on; `streams` how many there are, final
    markers included, when it is over.
    """

    status: AnswerStatus
    output: Raw | UnsetType = UNSET
    failure: Failure | None = None
    waits: list[Waitpoint] = []
    compensations: list[Undone] = []
    changes: list[Change] = []
    resolved: dict[str, Resolved] = {}
    streams: dict[str, int] = {}
    sent: dict[str, int] = {}
    delayed: dict[str, Delayed] = {}
    patches: list[str] = []
