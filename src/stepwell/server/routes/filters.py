"""Which runs, as requests say it: in the URL of a listing, and in the body of a bulk operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct

from stepwell.model.runs import STATUSES
from stepwell.runtime.querying import RunFilters
from stepwell.server.bodies import checked_json
from stepwell.server.problems import Problem

Moment = Annotated[int, Meta(ge=0, le=2**53 - 1, description="ms since the Unix epoch")]
Name = Annotated[str, Meta(max_length=264)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Reason = Annotated[str, Meta(max_length=10_000)]
RequestId = Annotated[str, Meta(min_length=1, max_length=200, description="Requests with the same id count once.")]
NewId = Annotated[str, Meta(max_length=200, description="The id of the new run.")]


class RunsQuery(Struct, frozen=True, kw_only=True):
    """The filters of a listing. All that are given must hold."""

    workflow: Name | None = None
    status: Annotated[tuple[str, ...], Meta(description="One or several, repeated or with commas between.")] = ()
    tag: Annotated[tuple[str, ...], Meta(description="`name:value`, or `name` of a tag without a value")] = ()
    metadata: Annotated[tuple[str, ...], Meta(description="`name:value`, the value as JSON")] = ()
    parent: Name | None = None
    since: Moment | None = None
    until: Moment | None = None
    ended_before: Moment | None = None
    text: Annotated[Name | None, Meta(description="A part of the run's id.")] = None
    limit: Limit = 100
    cursor: Annotated[str, Meta(max_length=2000)] | None = None

    def filters(self) -> RunFilters:
        """As the listing takes them. `Problem` 400 names the parameter."""
        return {
            "workflow": self.workflow,  # type: ignore[typeddict-item] # None: no such condition
            "status": _statuses(self.status),
            "tag": dict(_tag(text) for text in self.tag),
            "metadata": {name: _json(name, text) for name, text in (_pair("metadata", item) for item in self.metadata)},
            "parent": self.parent,  # type: ignore[typeddict-item]
            "since": self.since,  # type: ignore[typeddict-item]
            "until": self.until,  # type: ignore[typeddict-item]
            "ended_before": self.ended_before,  # type: ignore[typeddict-item]
            "text": self.text,  # type: ignore[typeddict-item]
            "limit": self.limit,
            "cursor": self.cursor,
        }


class BulkFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as JSON. At least one condition must be given."""

    workflow: Name | None = None
    status: str | tuple[str, ...] = ()
    tag: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    parent: Name | None = None
    since: Moment | None = None
    until: Moment | None = None
    ended_before: Moment | None = None
    text: Name | None = None

    def filters(self) -> RunFilters:
        """As the listing takes them. `Problem` 400 if there are none."""
        if self == BulkFilter():
            text = "the filter has no condition; name a workflow, a status, a tag or an age"
            raise Problem(400, "invalid_body", f"the body does not fit: {text} - at `$.filter`")
        return {
            "workflow": self.workflow,  # type: ignore[typeddict-item]
            "status": _statuses([self.status] if isinstance(self.status, str) else self.status),
            "tag": self.tag,
            "metadata": self.metadata,
            "parent": self.parent,  # type: ignore[typeddict-item]
            "since": self.since,  # type: ignore[typeddict-item]
            "until": self.until,  # type: ignore[typeddict-item]
            "ended_before": self.ended_before,  # type: ignore[typeddict-item]
            "text": self.text,  # type: ignore[typeddict-item]
        }


def _statuses(given: Iterable[str]) -> Any:
    names = tuple(part.strip() for text in given for part in text.split(",") if part.strip())
    for name in names:
        if name not in STATUSES:
            raise _wrong("status", f"there is no status {name[:100]!r}; there are: {', '.join(STATUSES)}")
    return tuple(dict.fromkeys(names))


def _tag(text: str) -> tuple[str, str]:
    return _pair("tag", text if ":" in text else f"{text}:")


def _pair(parameter: str, text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise _wrong(parameter, f"write {parameter}=name:value, not {text[:100]!r}")
    return name, value


def _json(name: str, text: str) -> Any:
    try:
        return checked_json(text.encode())
    except Problem as problem:
        what = problem.message.replace("the body", f"the value of {name[:100]!r}")
        raise _wrong("metadata", f'{what}; write JSON, with text in quotes: metadata=name:"text"') from None


def _wrong(parameter: str, message: str) -> Problem:
    return Problem(400, "invalid_query", f"the parameter {parameter!r} does not fit: {message}")
