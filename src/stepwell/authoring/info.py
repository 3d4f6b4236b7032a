"""What a body may know of its run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import Codec
from stepwell.engine.program import Origin
from stepwell.formats.voyant.labels import DEFAULT_ENVIRONMENT, LABELS, labels_of
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId


class RunInfo(Struct, frozen=True, kw_only=True):
    """What a body may know of its run: `ctx.info`.

    `started_at` is when the run was created, or when its delay was over. `environment`, `tenant` and `triggered_by` are
    what whoever triggered it said, and children have them from their parents. `parent` started it as a child, `root` is
    at the top; None: nobody is above. `number` is 1.

    `attempt` counts how often the run began, by its workflow's `retry`. A fork has another `id`, and nobody above. So
    these are for logs and for the outside: a body that decides by them does not fit the history that a retry or a fork
    keeps.
    """

    id: RunId
    workflow: str
    version: str
    started_at: datetime
    attempt: int = 1
    number: int = 1
    tags: Mapping[str, str]
    environment: str = DEFAULT_ENVIRONMENT
    tenant: Mapping[str, Any]
    triggered_by: Mapping[str, Any]
    parent: RunId | None = None
    root: RunId | None = None


def info_of(origin: Origin, codec: Codec) -> RunInfo:
    """That of a run here. `SealedError` if what was said of it cannot be read."""
    created = origin.created
    payload = created.metadata.get(LABELS)
    labels = labels_of(None if payload is None else codec.opened(payload, where="what was said of the run"))
    parent = created.parent
    return RunInfo(
        id=origin.run,
        workflow=created.workflow,
        version=created.version or labels.version,
        started_at=moment(max(origin.born_at, created.not_before)),
        attempt=1 + origin.retries,
        tags=dict(created.tags),
        environment=labels.environment,
        tenant=members(labels.tenant),
        triggered_by=members(labels.triggered_by) or {"kind": "api"},
        parent=None if parent is None else parent.run,
        root=None if parent is None else parent.root or parent.run,
    )


def moment(ms: int) -> datetime:
    """A time, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def members(raw: Raw) -> dict[str, Any]:
    """Those of a JSON object; of anything else, none."""
    found = None if raw == NULL else msgspec.json.decode(raw)
    return found if isinstance(found, dict) else {}
