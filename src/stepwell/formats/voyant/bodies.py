"""What clients of that system send: checked here, in its words, and turned into values of ours.

A function that reads a body gives the value, or the text of what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.model.durations import duration_ms

NO_OBJECT = "request body must be an object"
TAGS_MAX, NAME_MAX = 100, 200
_RESERVED = "event:"
_DURATION = re.compile(r"(\d{1,18})(ms|s|m|h|d|w)", re.ASCII)
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DELAY_MAX_MS = 100 * 365 * 86_400_000


# --- starting


class WakeAt(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A moment, in ms since the epoch."""

    wake_at: int


class Trigger(Struct, frozen=True, kw_only=True, rename="camel"):
    """`POST /api/runs`. `delay`: ms, a duration such as "5m", or a moment. What else a body holds means nothing here.

    `triggeredBy` is taken note of and overwritten: who asks is known from the key. `timeout`, `metadata`, `onConflict`
    and tags with values are ours.
    """

    workflow_id: str
    workflow_version: str | None = None
    input: Raw | UnsetType = UNSET
    tenant_meta: dict[str, Any] | None = None
    environment: Literal["production", "preview", "development"] | None = None
    tags: list[str] | dict[str, str] | None = None
    run_id: str | None = None
    idempotency_key: str | None = None
    delay: int | float | str | WakeAt | None = None
    priority: int | None = None
    metadata: dict[str, Any] | None = None
    timeout: int | float | str | None = None
    on_conflict: Literal["attach", "fail", "restart_if_failed"] = "attach"

    def mistake(self) -> str | None:
        """What types cannot say."""
        if not self.workflow_id:
            return "`workflowId` (string) is required"
        if self.run_id is not None and not self.run_id:
            return "`runId` must not be empty when provided"
        if self.idempotency_key is not None and not is_name(self.idempotency_key):
            return f"`idempotencyKey` must have 1 to {NAME_MAX} characters, and no NUL, when provided"
        if isinstance(self.delay, str) and not _DURATION.fullmatch(self.delay):
            return f"invalid duration: {self.delay[:100]}"
        if self.delay_ms(0) > _DELAY_MAX_MS and not isinstance(self.delay, WakeAt):
            return "`delay` must not be longer than 100 years"
        return tags_mistake(self.tags or ())

    def delay_ms(self, now: int) -> int:
        """How long from now the run starts; a moment that has passed is now."""
        delay = self.delay
        if delay is None:
            return 0
        if isinstance(delay, WakeAt):
            return max(0, delay.wake_at - now)
        if isinstance(delay, str):
            match = _DURATION.fullmatch(delay)
            return 0 if match is None else int(match[1]) * _UNITS_MS[match[2]]
        return max(0, int(delay))


def is_name(text: str) -> bool:
    """Whether it can name something: not empty, not long, no NUL."""
    return 0 < len(text) <= NAME_MAX and "\0" not in text


def tags_mistake(tags: Sequence[str] | Mapping[str, str]) -> str | None:
    """What is wrong with tags."""
    if len(tags) > TAGS_MAX:
        return f"`tags` holds {len(tags)} tags; a run has {TAGS_MAX} at most"
    values = tags.values() if isinstance(tags, Mapping) else ()
    if isinstance(tags, Mapping) and any(tag.startswith(_RESERVED) for tag in tags):
        return f"`tags` holds one that begins with {_RESERVED!r}; by these, runs are found that wait for events"
    if not all(is_name(tag) for tag in tags) or not all(len(value) <= NAME_MAX for value in values):
        return f"`tags` holds one that is empty or longer than {NAME_MAX} characters"
    return None


# --- injecting


class Injection(Struct, frozen=True, kw_only=True):
    """An event, a signal, or a value for a token. `payload` UNSET: the caller gave none."""

    kind: Literal["event", "signal", "token"]
    name: str
    payload: Any = UNSET


def injection_of(kind: Literal["event", "signal", "token"], body: Any, *, token: str = "") -> Injection | str:
    """What to inject. The body of a token may be missing (None)."""
    if kind == "token" and body is None:
        body = {}
    if not isinstance(body, dict):
        return NO_OBJECT
    if kind == "token":
        return Injection(kind=kind, name=token, payload=body.get("payload", UNSET))
    member = "eventType" if kind == "event" else "name"
    name = body.get(member)
    if not isinstance(name, str):
        return f"`{member}` (string) is required"
    return Injection(kind=kind, name=name, payload=body.get("payload", UNSET))


# --- ending, and starting over


class Cancel(Struct, frozen=True):
    """`POST .../cancel`."""

    reason: str = ""

    @staticmethod
    def of(body: Any) -> Cancel | str:
        """The body may be missing (None)."""
        if body is None:
            return Cancel()
        if not isinstance(body, dict):
            return NO_OBJECT
        reason = body.get("reason")
        if reason is not None and not isinstance(reason, str):
            return "`reason` must be a string when provided"
        return Cancel(reason or "")


class Resume(Struct, frozen=True, kw_only=True):
    """`POST .../resume`: a new run that goes on where another failed. `input` UNSET: the parent's."""

    step: str | None = None
    workflow: str | None = None
    run: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    seeds: dict[str, Any] | None = None
    input: Any = UNSET

    @staticmethod
    def of(body: Any) -> Resume | str:
        """The body may be missing (None)."""
        if body is None:
            return Resume()
        if not isinstance(body, dict):
            return NO_OBJECT
        if (mistake := _resume_mistake(body)) is not None:
            return mistake
        return Resume(
            step=body.get("resumeFromStep"),
            workflow=body.get("workflowId"),
            run=body.get("runId"),
            user=body.get("triggeredByUserId"),
            tags=tuple(body.get("tags") or ()),
            seeds=body.get("seedResults"),
            input=body.get("input", UNSET),
        )


def _resume_mistake(body: dict[str, Any]) -> str | None:
    for member in ("resumeFromStep", "workflowId", "runId"):
        if not isinstance(body.get(member, ""), str):
            return f"`{member}` must be a string when provided"
    if not isinstance(body.get("triggeredByUserId"), str | None):
        return "`triggeredByUserId` must be a string or null when provided"
    tags = body.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return "`tags` must be an array of strings when provided"
    if not isinstance(body.get("seedResults", {}), dict):
        return "`seedResults` must be an object when provided"
    return tags_mistake(tags)


def deadline_ms(trigger: Trigger) -> int | None:
    """How long the run may take; `DefinitionError`."""
    return None if trigger.timeout is None else duration_ms(trigger.timeout, what="`timeout`")
