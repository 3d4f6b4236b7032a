"""The first entry of a run that somebody asks for: the same for a start in process and for one over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct

from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.model.entries import Created
from stepwell.ports import Clock


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for at `at` (ms), checked and as payloads. `timeout_ms` None: the workflow's. `tags` are added to
    its own."""

    at: int
    input: Raw
    delay_ms: int = 0
    timeout_ms: int | None = None
    tags: Mapping[str, str] = {}
    metadata: dict[str, Raw] = {}


def first_entry(registry: Registry, clock: Clock, workflow: WorkflowRef[Any, Any], asked: Asked) -> Created:
    """The beginning of a run of this workflow. Its time is bounded from when it may begin."""
    begins_at = asked.at + asked.delay_ms
    timeout_ms = workflow.spec.timeout_ms if asked.timeout_ms is None else asked.timeout_ms
    return Created(
        workflow=workflow.id,
        version=workflow.spec.version,
        input=asked.input,
        blueprint=registry.snapshot_of(workflow),
        seed=clock.random_bytes(16).hex(),
        deadline=None if timeout_ms is None else begins_at + timeout_ms,
        not_before=begins_at if asked.delay_ms else 0,
        tags={**workflow.spec.tags, **asked.tags},
        metadata=asked.metadata,
    )
