"""Which runs: a `RunQuery`, said in keywords."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from msgspec import Raw, structs

from stepwell.authoring.registry import Registry
from stepwell.errors import DefinitionError
from stepwell.model.ids import RunId
from stepwell.model.runs import STATUSES, RunQuery, Status


class RunFilters(TypedDict, total=False):
    """The fields of a `RunQuery` as one likes to write them: one status or several, tags and metadata as mappings with
    plain values, times as a datetime with a zone or in ms since the epoch."""

    workflow: str
    status: Status | tuple[Status, ...]
    tag: Mapping[str, str]
    metadata: Mapping[str, Any]
    parent: str
    since: datetime | int
    until: datetime | int
    ended_before: datetime | int
    text: str
    limit: int
    cursor: str | None


def run_query(registry: Registry, query: RunQuery | None, filters: RunFilters) -> RunQuery:
    """The query with these filters over its own. `DefinitionError` for a filter that there is not."""
    fields = {name: _field(registry, name, value) for name, value in filters.items() if value is not None}
    return structs.replace(query or RunQuery(), **fields)


def _field(registry: Registry, name: str, value: Any) -> Any:
    match name:
        case "status":
            return _statuses(value)
        case "tag":
            return tuple(value.items())
        case "metadata":
            return _metadata(registry, value)
        case "parent":
            return RunId(value)
        case "since" | "until" | "ended_before":
            return _moment(name, value)
        case "workflow" | "text" | "limit" | "cursor":
            return value
        case _:
            known = ", ".join(sorted(RunFilters.__annotations__))
            raise DefinitionError(f"runs have no filter {name!r}; there are: {known}")


def _metadata(registry: Registry, values: Mapping[str, Any]) -> tuple[tuple[str, Raw], ...]:
    if values and registry.codec.cipher is not None:
        raise DefinitionError(
            f"runs cannot be found by metadata {', '.join(values)}: this app encrypts it, so the store cannot compare "
            f"it; search by tag, which is not encrypted"
        )
    return tuple((key, registry.encode(item, what=f"metadata {key!r}")) for key, item in values.items())


def _statuses(value: Any) -> tuple[Status, ...]:
    statuses: tuple[Status, ...] = (value,) if isinstance(value, str) else tuple(value)  # type: ignore[assignment]
    for status in statuses:
        if status not in STATUSES:
            raise DefinitionError(f"there is no status {status!r}; there are: {', '.join(STATUSES)}")
    return statuses


def _moment(name: str, value: datetime | int) -> int:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise DefinitionError(f"{name}={value!r}: give a datetime with a time zone")
    return int(value.timestamp() * 1000)
