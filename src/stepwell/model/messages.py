"""What comes to a run from outside. A message is delivered to the inbox and drained into the journal."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.model.metadata import MetadataOp


class _Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="m"):
    """What all messages share."""


class Signal(_Message, tag="signal", frozen=True, kw_only=True, omit_defaults=True):
    """A typed message to this run."""

    name: str
    value: Raw


class Event(_Message, tag="event", frozen=True, kw_only=True, omit_defaults=True):
    """A typed message to every run that waits for it; `index` is its place in the log of that name."""

    name: str
    index: int
    value: Raw


class HookCompleted(_Message, tag="hook", frozen=True, kw_only=True, omit_defaults=True):
    """Somebody completed the hook that `command` of generation `base` created."""

    base: int
    command: CommandId
    value: Raw


class ChildEnded(_Message, tag="child", frozen=True, kw_only=True, omit_defaults=True):
    """A child run reached its end. `failure` is set unless it completed."""

    child: RunId
    base: int
    command: CommandId
    status: str
    value: Raw = NULL
    failure: Failure | None = None


class MetadataSent(_Message, tag="metadata", frozen=True, kw_only=True, omit_defaults=True):
    """A run below this one changes the metadata of this one. `child`: the one of this run's that it is, or is below."""

    ops: tuple[MetadataOp, ...]
    child: RunId = RunId("")


class CancelRequested(_Message, tag="cancel", frozen=True, kw_only=True, omit_defaults=True):
    """Cancel: `CancelledError` at the awaits of the body; after `grace_ms` the run is terminated."""

    reason: str = ""
    grace_ms: int | None = None


class TerminateRequested(_Message, tag="terminate", frozen=True, kw_only=True, omit_defaults=True):
    """End at once, without cleanup."""

    reason: str = ""


class PauseRequested(_Message, tag="pause", frozen=True, kw_only=True, omit_defaults=True):
    """Start nothing new until resumed."""

    reason: str = ""


class ResumeRequested(_Message, tag="resume", frozen=True, kw_only=True, omit_defaults=True):
    """Go on after a pause."""


Message = (
    Signal
    | Event
    | HookCompleted
    | ChildEnded
    | MetadataSent
    | CancelRequested
    | TerminateRequested
    | PauseRequested
    | ResumeRequested
)


class MessageCodec:
    """Messages to and from the bytes that the inbox stores."""

    _encoder: ClassVar[msgspec.json.Encoder] = msgspec.json.Encoder()
    _decoder: ClassVar[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)

    encode = staticmethod(_encoder.encode)
    decode = staticmethod(_decoder.decode)
