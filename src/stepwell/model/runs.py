"""A run as the store knows it: its head, and what one may ask about heads."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Raw, Struct

from stepwell.errors import DefinitionError
from stepwell.model.ids import Claim, RunId

LiveStatus = Literal["queued", "running", "waiting", "paused"]
EndStatus = Literal["completed", "failed", "cancelled", "terminated", "dead"]
Status = Literal["queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "terminated", "dead"]

TERMINAL: frozenset[str] = frozenset(get_args(EndStatus))
STATUSES: tuple[str, ...] = get_args(Status)


def checked_run_id(id: str) -> RunId:
    """The id, if somebody may give it to a run. `DefinitionError`."""
    if not id or len(id) > 200 or any(c.isspace() or c == "/" or not c.isprintable() for c in id):
        raise DefinitionError(f"run id {id!r:.210}: give 1 to 200 printable characters, no spaces and no '/'")
    return RunId(id)


class Wait(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a parked run waits for: a hint for people, written when it parks.

    Of a wait that ends by itself, `n` is the number that its timer has in its generation, by which the journal knows
    it, and `since` (ms) when it began; 0: that is not known.
    """

    kind: Literal["timer", "event", "signal", "token", "child", "retry", "start"]
    name: str
    until: int | None = None
    detail: str = ""
    n: int = 0
    since: int = 0


class Head(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The small record of one run.

    `status`, `seq`, `base`, `tags`, `metadata` and `waiting` are exact while `owner` is None and the run sleeps; they
    are hints while it is set, and of a run that is due, which a worker may have given back unread. `wake_at` (ms) is
    when the run next needs attention: for an owned run, the end of its lease. `namespace` never changes; "" is the
    default one. To a store, the ids and the queue of a run in another one begin with its name and a space.
    """

    id: RunId
    workflow: str
    version: str = ""
    status: Status = "queued"
    queue: str = "default"
    priority: int = 0
    created_at: int
    ended_at: int | None = None
    wake_at: int | None = None
    owner: Claim | None = None
    mail: int = 0
    takes: int = 0
    seq: int = 1
    base: int = 1
    parent: RunId | None = None
    tags: dict[str, str] = {}
    metadata: dict[str, Raw] = {}
    waiting: tuple[Wait, ...] = ()
    error: str = ""
    namespace: str = ""

    @property
    def is_terminal(self) -> bool:
        """Whether the run has reached its end (it may still have obligations to settle)."""
        return self.status in TERMINAL

    @property
    def is_settled(self) -> bool:
        """Whether the run has ended and owes nothing to anybody."""
        return self.status in TERMINAL and self.owner is None and self.wake_at is None


class RunQuery(Struct, frozen=True, kw_only=True):
    """Which runs to list, newest first. All given conditions must hold.

    `tag` and `metadata` match exact values. `since` and `until` bound `created_at` (ms, half open). `text` is looked
    for in the run id, case-sensitive, and not in the part before it that names the run's namespace. `ended_before` (ms)
    keeps only runs that ended before it. `namespace` None means all of them. `limit` is 1 to 1000.
    """

    namespace: str | None = None
    workflow: str | None = None
    status: tuple[Status, ...] = ()
    tag: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, Raw], ...] = ()
    parent: RunId | None = None
    since: int | None = None
    until: int | None = None
    ended_before: int | None = None
    text: str | None = None
    limit: int = 100
    cursor: str | None = None


class Page(Struct, frozen=True):
    """One page of a listing; `cursor` is None on the last page. A page may be short before the end."""

    runs: tuple[Head, ...]
    cursor: str | None = None
