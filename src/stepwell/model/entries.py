"""What the journal holds: entries, in frames.

A frame is written once, by the run's owner, under the next `seq`. Its bytes are JSON, so that a journal can be read
with nothing but a database shell. Times are milliseconds since the Unix epoch.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import Message
from stepwell.model.metadata import MetadataOp
from stepwell.model.tokens import NO_OPTIONS, HookOptions


class Parent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who started this run as a child, by which command, and what its end means for the child.

    `lineage` is the parent's: another run may have had its id before. `root` is the run at the top, if that is another,
    and `branch` the child of that one which this run is below.
    """

    run: RunId
    base: int
    command: CommandId
    on_parent_end: str = "cancel"
    lineage: str = ""
    root: RunId = RunId("")
    branch: RunId = RunId("")


class _Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """What all entries share."""


class Created(_Entry, tag="created", frozen=True, kw_only=True, omit_defaults=True):
    """Always the first entry. `seed` (hex) feeds `ctx.random`, `ctx.uuid4` and hook tokens; it is secret. The body does
    not begin before `not_before`, whatever messages come. `blueprint` is the one that the run goes by to its end.
    `seeds` are results of steps of the first generation: a step with such an id is not run, it has that result."""

    workflow: str
    version: str = ""
    input: Raw = NULL
    seed: str
    parent: Parent | None = None
    deadline: int | None = None
    not_before: int = 0
    forked_from: RunId | None = None
    blueprint: Raw = NULL
    tags: dict[str, str] = {}
    metadata: dict[str, Raw] = {}
    seeds: dict[str, Raw] = {}


class Started(_Entry, tag="started", frozen=True, kw_only=True, omit_defaults=True):
    """The body of this generation began at `at`. Without this entry it began when it could at the earliest.

    The first entry of the first frame after that, and written only if the body began late: the run was in the queue, or
    no worker was there. Until that frame is durable, nothing that depends on the time is; so after a crash the body
    begins anew, at a later time.
    """

    at: int


class Pinned(_Entry, tag="pinned", frozen=True, kw_only=True, omit_defaults=True):
    """The run goes by this blueprint to its end. Of runs that were started by somebody who did not have it: the worker
    that began the run says so, before anything depends on it."""

    blueprint: Raw


class StepCompleted(_Entry, tag="step", frozen=True, kw_only=True, omit_defaults=True):
    """A step gave a result. `ms` is how long the attempt took; `args` is a checksum of its arguments.

    `via`: no worker of ours ran it, but the one elsewhere that this invocation of the body asked. `record` is what that
    worker wrote of it beside the result: its times, and what only it understands.
    """

    id: CommandId
    value: Raw = NULL
    attempt: int = 1
    ms: int = 0
    args: int = 0
    via: CommandId = CommandId("")
    record: Raw = NULL


class StepFailed(_Entry, tag="step_failed", frozen=True, kw_only=True, omit_defaults=True):
    """A step failed for good. `via` and `record` are those of a completed step."""

    id: CommandId
    failure: Failure
    attempt: int = 1
    ms: int = 0
    via: CommandId = CommandId("")
    record: Raw = NULL


class AttemptFailed(_Entry, tag="attempt_failed", frozen=True, kw_only=True, omit_defaults=True):
    """An attempt failed; the next starts at `retry_at`. `progress` is the last heartbeat's."""

    id: CommandId
    failure: Failure
    attempt: int
    retry_at: int
    ms: int = 0
    progress: Raw = NULL


class StepProgressed(_Entry, tag="progress", frozen=True, kw_only=True, omit_defaults=True):
    """A running step reported how far it is; a later attempt reads it as `last_progress`."""

    id: CommandId
    progress: Raw
    attempt: int = 1


class TimerFired(_Entry, tag="timer", frozen=True, kw_only=True, omit_defaults=True):
    """Timer number `n` of this generation, due at `due`, fired."""

    n: int
    due: int
    name: str = "timer"


class Received(_Entry, tag="received", frozen=True, kw_only=True, omit_defaults=True):
    """A message, drained from the inbox. `no` is its number there, `at` when the store accepted it."""

    no: int
    id: MessageId
    at: int
    message: Message


class StartChild(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="start_child"):
    """Create a run. Detached children (`on_parent_end="abandon"`) have no parent link for its end. `is_shared`: the id
    is that of a key, and a run that has it already is as good. `is_chosen`: the id is that of the body's author.
    `name`: what the id is derived from, if not from the command's."""

    child: RunId
    workflow: str
    version: str = ""
    input: Raw = NULL
    on_parent_end: str = "cancel"
    awaited: bool = True
    blueprint: Raw = NULL
    tags: dict[str, str] = {}
    is_shared: bool = False
    is_chosen: bool = False
    name: CommandId = CommandId("")


class CancelChild(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="cancel_child"):
    """Ask a child to stop."""

    child: RunId
    reason: str = ""


class SendSignal(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="send_signal"):
    """Send a signal to another run."""

    run: RunId
    name: str
    value: Raw


class OpenHook(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="open_hook"):
    """Make a hook reachable. A custom `token` is reserved as a name; a generated one holds its options, and needs no
    act."""

    token: str
    options: HookOptions = NO_OPTIONS


class Subscribe(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="subscribe"):
    """Wait for an event: be found by its publishers, then read what was published since `since`."""

    event: str
    since: int


class SendMetadata(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag="send_metadata"):
    """Change the metadata of a run above this one. One that has ended takes no more changes, which is no failure."""

    run: RunId
    ops: tuple[MetadataOp, ...]


Act = StartChild | CancelChild | SendSignal | OpenHook | Subscribe | SendMetadata
"""What a run does to something outside of itself: intended, then done (idempotently), then confirmed."""


class Intended(_Entry, tag="intended", frozen=True, kw_only=True, omit_defaults=True):
    """The run is about to do this."""

    id: CommandId
    act: Act


class Confirmed(_Entry, tag="confirmed", frozen=True, kw_only=True, omit_defaults=True):
    """It was done, or it cannot be: then `failure` says why.

    `redo`: the run that this one was forked from did it, and its body went on. This run has to do it for itself; a
    second confirmation follows.
    """

    id: CommandId
    failure: Failure | None = None
    redo: bool = False


class MetadataChanged(_Entry, tag="metadata", frozen=True, kw_only=True, omit_defaults=True):
    """New values of metadata keys; null removes one."""

    values: dict[str, Raw]


class Sent(_Entry, tag="sent", frozen=True, kw_only=True, omit_defaults=True):
    """The body sent chunk number `k` (from 0) to a stream of its run."""

    stream: str
    k: int
    value: Raw


class Patched(_Entry, tag="patched", frozen=True, kw_only=True, omit_defaults=True):
    """The body passed `ctx.patched(id)` as new code."""

    id: str


class Dropped(_Entry, tag="dropped", frozen=True, kw_only=True, omit_defaults=True):
    """A message was taken from the buffer and did not fit its type, so nobody got it."""

    id: MessageId
    reason: str


class ContinuedAsNew(_Entry, tag="continued", frozen=True, kw_only=True, omit_defaults=True):
    """The first entry of a new generation: the run starts again, in a frame that becomes the head's `base`.

    By `ctx.continue_as_new`: with a new input and no history; unread messages stay unread. By the workflow's retry
    policy (`retries` > 0): with the input it had, and the `history` up to its first failed step. `created` is the
    run's first entry with the version and metadata of now; `mail` counts all messages journaled before; `names` are
    the hook tokens that the run still holds; `born_at` is when it was created; `previous` is the base of the generation
    that ends here. A retry replays, so it keeps the time at
    which the generation with that history began, and the base that its random numbers come from.
    """

    created: Created
    input: Raw = NULL
    unread: tuple[Received, ...] = ()
    history: tuple[Frame, ...] = ()
    retries: int = 0
    not_before: int = 0
    started_at: int = 0
    born_at: int = 0
    previous: int = 0
    random_base: int = 0
    mail: int = 0
    names: tuple[str, ...] = ()


class Ended(_Entry, tag="ended", frozen=True, kw_only=True, omit_defaults=True):
    """The last entry: the run's outcome. `status` is terminal."""

    status: str
    value: Raw = NULL
    failure: Failure | None = None
    reason: str = ""


Entry = (
    Created
    | Started
    | Pinned
    | StepCompleted
    | StepFailed
    | AttemptFailed
    | StepProgressed
    | TimerFired
    | Received
    | Intended
    | Confirmed
    | MetadataChanged
    | Sent
    | Patched
    | Dropped
    | ContinuedAsNew
    | Ended
)


class Frame(Struct, frozen=True):
    """One atomic addition to a journal.

    `at` is the run's time from this frame on, and never goes back. `by` is the claim that wrote it: with one append
    in flight per run, (`by`, `seq`) makes the bytes of two different writers differ.
    """

    at: int
    by: Claim
    entries: tuple[Entry, ...]


class FrameCodec:
    """Frames to and from bytes."""

    _encoder: ClassVar[msgspec.json.Encoder] = msgspec.json.Encoder()
    _decoder: ClassVar[msgspec.json.Decoder[Frame]] = msgspec.json.Decoder(Frame)

    encode = staticmethod(_encoder.encode)
    decode = staticmethod(_decoder.decode)
