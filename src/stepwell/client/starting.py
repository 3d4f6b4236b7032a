"""What is sent to start a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.client.pausing import fresh_run_id
from stepwell.client.shapes import plain
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms
from stepwell.runtime.app import StartOptions

_BATCH_RUNS = 500
_BATCH_BYTES = 500_000
"""Below what a server takes (1 MiB)."""


class Start(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One start. Without an id or a key of the user's, the run has an id of ours: so it can be asked for twice."""

    workflow_id: str
    workflow_version: str = ""
    input: Raw | UnsetType = UNSET
    run_id: str | None = None
    idempotency_key: str | None = None
    on_conflict: str = "attach"
    delay: str | None = None
    timeout: str | None = None
    priority: int = 0
    tags: dict[str, str] = {}
    metadata: dict[str, Raw] = {}

    @property
    def is_repeatable(self) -> bool:
        """Whether asking twice gives the same answer: with "fail", the second time finds what the first one made."""
        return self.on_conflict != "fail"


def ref_of(registry: Registry, workflow: WorkflowRef[Any, Any] | str, options: StartOptions) -> WorkflowRef[Any, Any]:
    """The workflow, by the code that is here or by its name alone."""
    if isinstance(workflow, WorkflowRef):
        return workflow
    if not isinstance(workflow, str):
        raise DefinitionError(f"start({workflow!r}): give a workflow, a WorkflowRef or a workflow's name")
    version = options.get("version", "")
    return registry.find(workflow, version) or WorkflowRef(workflow, version=version)


def start_of(registry: Registry, ref: WorkflowRef[Any, Any], given: tuple[Any, ...], options: StartOptions) -> Start:
    """What to send. `DefinitionError` for what is wrong with it."""
    unknown = sorted(set(options) - set(StartOptions.__annotations__))
    if unknown:
        known = ", ".join(sorted(StartOptions.__annotations__))
        raise DefinitionError(f"start() has no option {unknown[0]!r}; there are: {known}")
    id, key = options.get("id"), options.get("key")
    if id is not None and key is not None:
        raise DefinitionError("start(id=, key=): give one of them")
    if id is None and key is None:
        id = fresh_run_id()
    return Start(
        workflow_id=ref.id,
        workflow_version=ref.spec.version,
        input=_input(registry, ref, given),
        run_id=id,
        idempotency_key=key,
        on_conflict=options.get("on_conflict", "attach"),
        delay=milliseconds(options.get("delay"), "start(delay)"),
        timeout=milliseconds(options.get("timeout"), "start(timeout)"),
        priority=options.get("priority", 0),
        tags=dict(options.get("tags", {})),
        metadata=plain_values(registry, options.get("metadata", {}), "metadata"),
    )


def batches(starts: Iterable[Start]) -> Iterator[list[Raw]]:
    """Starts in the portions in which they are sent."""
    batch: list[Raw] = []
    size = 0
    for start in starts:
        data = msgspec.json.encode(start)
        if batch and (len(batch) >= _BATCH_RUNS or size + len(data) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(Raw(data))
        size += len(data)
    if batch:
        yield batch


def milliseconds(duration: Duration | None, what: str) -> str | None:
    """A duration as servers read it."""
    return None if duration is None else f"{duration_ms(duration, what=what)}ms"


def plain_values(registry: Registry, values: Mapping[str, Any], what: str) -> dict[str, Raw]:
    """Values by name as JSON."""
    return {key: plain_value(registry, value, f"{what} {key!r}") for key, value in values.items()}


def plain_value(registry: Registry, value: Any, what: str, type: Any = Any) -> Raw:
    """A value as JSON. `CodecError`."""
    return plain(registry.codec, registry.encode(value, type, what=what))


def _input(registry: Registry, ref: WorkflowRef[Any, Any], given: tuple[Any, ...]) -> Raw | UnsetType:
    """UNSET: what the workflow has as its default."""
    raw = registry.input_of(ref, given)
    return plain(registry.codec, raw) if given else UNSET
