"""What Stepwell needs of the world: six small ports. The engine knows nothing else about it.

A backend implements them and decides nothing. Every call takes a batch and answers one result per item, in order; an
item that is refused hurts no other. A call that raises `BackendError` may have been applied or not: each method says
what to do then. Times are milliseconds since the Unix epoch; integers go up to 2**53 - 1, counters to 2**63 - 1; names
have up to 264 characters (a namespace, and 200), of any kind, NUL included. `stepwell.testing.contracts` states all of
this as tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.model.ids import Claim, MessageId, RunId
from stepwell.model.runs import Head, Page, RunQuery, Status, Wait

MAX_SEQ = 2**24 - 1
"""The last seq that a generation of frames can reach; `continue_as_new` long before."""


# --- Store --------------------------------------------------------------------------------------------------------


class StoreLimits(Struct, frozen=True, kw_only=True):
    """The only things in which stores differ. `frame` and `message`: bytes; `group`: items worth one call;
    `is_immediate`: `append` never waits for anything, so there is nothing to gather while it does."""

    frame: int = 16 * 2**20
    message: int = 16 * 2**20
    group: int = 1000
    is_immediate: bool = False


class NewRun(Struct, frozen=True, kw_only=True):
    """A run to create: its head as it shall be, and the bodies of its frames from seq 1.

    With `wake_in_ms`, the head's `wake_at` becomes the store's now + that: who creates a run may have another clock.
    """

    head: Head
    frames: tuple[bytes, ...]
    wake_in_ms: int | None = None


class Serves(Struct, frozen=True, kw_only=True):
    """What a worker can run: runs of these queues whose `workflow@version` is one of `kinds` (None: of any kind)."""

    queues: tuple[str, ...] = ("default",)
    kinds: tuple[str, ...] | None = None


class Taken(Struct, frozen=True):
    """The runs that were claimed, and the store's time by which it judged them due."""

    heads: tuple[Head, ...]
    now: int


class Due(Struct, frozen=True):
    """A hint: this run wants attention at `wake_at`."""

    run: RunId
    wake_at: int


class Wanted(Struct, frozen=True):
    """Load `run` with its frames after seq `after` (`MAX_SEQ`: none) up to `until`, and its messages above `mail`.

    `after` below the head's `base` - 1 is raised to it, so that 0 means "this generation", frame `base` included;
    -1 means every frame since seq 1.
    """

    run: RunId
    after: int = 0
    mail: int = 0
    until: int = MAX_SEQ


class Mail(Struct, frozen=True):
    """A message as the inbox holds it: `no` counts from 1 per run, without gaps."""

    no: int
    id: MessageId
    accepted_at: int
    body: bytes


class Loaded(Struct, frozen=True):
    """A run as of the moment when its head was read, or later; `frames` are (seq, body), gap-free, in order."""

    head: Head
    frames: tuple[tuple[int, bytes], ...] = ()
    mail: tuple[Mail, ...] = ()


class HeadChange(Struct, frozen=True, kw_only=True):
    """What a frame changes in the head. UNSET leaves a field as it is. The head's `seq` becomes the frame's."""

    status: Status | UnsetType = UNSET
    wake_at: int | None | UnsetType = UNSET
    release: bool = False
    takes: int | UnsetType = UNSET
    base: int | UnsetType = UNSET
    version: str | UnsetType = UNSET
    ended_at: int | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    metadata: dict[str, Raw] | UnsetType = UNSET
    waiting: tuple[Wait, ...] | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Append(Struct, frozen=True, kw_only=True):
    """One frame. With `owner`: only while the head's owner is that claim. With `mail`: only while it is the head's.

    `head` needs `owner`, and is applied atomically with the frame.
    """

    run: RunId
    seq: int
    body: bytes
    owner: Claim | None = None
    mail: int | None = None
    head: HeadChange | None = None


Appended = Literal["ok", "exists", "lost", "mail", "missing"]
"""`ok`: written, or the identical frame was there already (head change included). `exists`: another frame has this
seq. `lost`: not the owner. `mail`: there are messages that the caller has not seen. `missing`: no such run."""


class Park(Struct, frozen=True, kw_only=True):
    """Let a run go: owner becomes None, `takes` as given, the summary is written.

    Guarded by `owner`, and by `mail` unless that is None (allowed only with a finite `wake_at`, or on a terminal
    run, which takes no mail). Fields that are UNSET stay. A terminal run parked with `wake_at=None` is settled.
    """

    run: RunId
    owner: Claim
    mail: int | None = None
    wake_at: int | None
    takes: int = 0
    seq: int | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    waiting: tuple[Wait, ...] | UnsetType = UNSET
    metadata: dict[str, Raw] | UnsetType = UNSET
    error: str | UnsetType = UNSET


Parked = Literal["ok", "mail", "lost"]


class Delivery(Struct, frozen=True, kw_only=True):
    """A message for the inbox of a run."""

    run: RunId
    id: MessageId
    body: bytes


class Delivered(Struct, frozen=True):
    """`ok`: accepted. `duplicate`: this id was accepted before (same bytes or not: the first wins). `closed`: the run
    has ended. `missing`: no such run. `owner`: the claim that holds the run now, which wants to be told."""

    answer: Literal["ok", "duplicate", "closed", "missing"]
    owner: Claim | None = None


class Store(Protocol):
    """Runs: heads, journals, inboxes, names. All operations are linearizable per run."""

    @property
    def limits(self) -> StoreLimits:
        """What this store can take."""

    @property
    def identity(self) -> str:
        """Drawn anew at each open; the first part of every claim made through it, up to the colon."""

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        """Put if absent, head and frames together. None: created. A head: that run was there already.

        Ambiguous: repeat; if the run is there, compare its first frame with yours.
        """

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        """Claim due runs that `serves` covers: `wake_at <= now`; with `runs`, those of them that are due or un-owned.

        Sets owner = `claim`, wake_at = now + `lease_ms`, takes + 1, and status "running" if it was queued or waiting.
        Answers the heads as they are after that. Most overdue first, higher priority first among equals. Settled runs
        are never taken. Ambiguous: forget it; the leases end by themselves.
        """

    async def peek_due(self, until: int, limit: int) -> list[Due]:
        """Runs with `wake_at <= until`, soonest first. A hint: claims nothing, may be stale, may hold too much."""

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        """Read runs; None where there is no such run. The head is read first, then frames, then messages."""

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        """Write frames, each put-if-absent under (run, seq) and atomic with its head change.

        Two frames of one run never share a call. Ambiguous: repeat the identical frame; `ok` also means "was there".
        """

    async def park(self, parks: Sequence[Park]) -> list[Parked]:
        """Let runs go. Ambiguous: treat the run as let go; if it was not, its lease ends."""

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        """Move `wake_at` of owned runs to now + `lease_ms`. Answers the head's `mail`; None: not the owner any more.

        Thread-safe: renewals come from a thread of their own. Ambiguous: count on the old end of the lease; repeat.
        """

    async def deliver(self, messages: Sequence[Delivery]) -> list[Delivered]:
        """Put messages into inboxes. An accepted one gets `no` = ++mail; an un-owned run becomes due at once.

        Ambiguous: repeat with the same id until answered.
        """

    async def search(self, query: RunQuery) -> Page:
        """Heads, newest first: in the reverse order of their creation, whatever `created_at` says. May lag behind.

        A page may be short, or empty, with a cursor that goes on; how much a store looks at for one page is its own
        limit. Raises `DefinitionError` for a cursor that this store did not make.
        """

    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        """Remove settled runs with all that is theirs in this store; False: not settled. True also if absent."""

    async def reserve(self, name: str, holder: str) -> str:
        """Put if absent. Answers who holds the name now."""

    async def resolve(self, name: str) -> str | None:
        """Who holds the name."""

    async def release(self, name: str, holder: str) -> None:
        """Free the name, if `holder` holds it."""


# --- Queue --------------------------------------------------------------------------------------------------------


class Job(Struct, frozen=True):
    """A doorbell: which run wants attention, or which step wants execution. Carries ids, never payloads."""

    body: bytes


class Received(Struct, frozen=True):
    """A job in the hands of one receiver until its visibility ends. `receipt` names this delivery of it."""

    queue: str
    receipt: str
    body: bytes
    deliveries: int


class Queue(Protocol):
    """Doorbells: at least once, in no promised order; and notices, which may be lost."""

    async def publish(self, queue: str, jobs: Sequence[Job], *, delay_ms: int = 0) -> None:
        """Add jobs. Ambiguous: repeat; a duplicate job is harmless."""

    async def receive(
        self, queues: Sequence[str], *, limit: int, visibility_ms: int = 30_000, wait_ms: int = 0
    ) -> list[Received]:
        """Up to `limit` jobs, oldest first, hidden for `visibility_ms`; waits up to `wait_ms` for the first."""

    async def ack(self, receipts: Sequence[str]) -> None:
        """Remove jobs for good. A receipt whose visibility has ended is ignored."""

    async def hide(self, receipts: Sequence[str], for_ms: int) -> None:
        """Hide jobs for this long from now: to extend one's hold on them, or (0, or a delay) to give them back."""

    async def notify(self, topics: Sequence[str]) -> None:
        """Tell listeners, in any process, that something about these topics may have changed."""

    def listen(self, topic: str) -> AsyncIterator[None]:
        """Yields whenever the topic may have changed; several changes may yield once. Spurious yields are allowed."""


# --- Coordination, Blobs, Streams, Clock --------------------------------------------------------------------------


class Coordination(Protocol):
    """Atomic keys with a time to live, for what spans runs. Never for a run's own state: it may be lost."""

    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        """Add to a counter (absent: 0) and answer the sum. `ttl_ms` applies when this call creates the key."""

    async def set_if_not_exist(self, key: str, value: str, *, ttl_ms: int | None = None) -> bool:
        """True if this call set it."""

    async def extend_ttl(self, key: str, ttl_ms: int) -> bool:
        """True if the key exists and now ends `ttl_ms` from now."""

    async def delete(self, key: str) -> bool:
        """True if the key existed."""

    async def get(self, key: str) -> str | None:
        """The value; counters as decimal text."""


class Blobs(Protocol):
    """Payloads above a threshold. Keys are paths; the first part of a key is the run's id, or holds a space."""

    async def put(self, key: str, data: bytes) -> None:
        """Write or overwrite; idempotent."""

    async def get(self, key: str) -> bytes | None:
        """The data, or None."""

    async def delete(self, prefix: str) -> None:
        """Remove all keys that begin with `prefix`."""


class Chunks(Struct, frozen=True):
    """Chunks from the index that was asked for, in order. `next` is the first index not in here.

    `closed`: the stream is closed and `next` is its end.
    """

    items: tuple[bytes, ...]
    next: int
    closed: bool = False


class Streams(Protocol):
    """Ordered chunks by (stream, index). A stream exists when it has a chunk, or is closed."""

    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        """Put if absent at `index`, `index` + 1, ...: all, or none and False if one is taken or the stream closed."""

    async def read(self, stream: str, start: int, limit: int) -> Chunks:
        """Up to `limit` chunks from `start`. A negative `start` counts from the end, at most to the beginning."""

    async def close(self, stream: str) -> None:
        """Accept no more chunks; idempotent."""

    async def delete(self, prefix: str) -> None:
        """Remove all streams whose names begin with `prefix`."""


class Clock(Protocol):
    """Time and chance, so that both can be virtual in tests. Waiting is the event loop's business."""

    def now(self) -> int:
        """Wall-clock milliseconds."""

    def monotonic(self) -> float:
        """Seconds that never go back, suspension included where the machine can tell."""

    def random_bytes(self, n: int) -> bytes:
        """Unpredictable, outside of tests."""


class Backend(Protocol):
    """A named set of ports, opened by `stepwell.backends.open`."""

    @property
    def url(self) -> str:
        """What it was opened with, without secrets."""

    @property
    def is_embedded(self) -> bool:
        """Whether it lives in this process or on its disk, so that entering an app may start a worker by itself."""

    @property
    def store(self) -> Store: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def coordination(self) -> Coordination: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def clock(self) -> Clock: ...

    async def close(self) -> None:
        """Release everything; idempotent."""
