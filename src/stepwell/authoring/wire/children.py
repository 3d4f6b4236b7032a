"""Children of a run that a step worker runs: waits of kind RUN, which the orchestrator starts and sees to the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET, Raw

from stepwell.authoring.context import ChildHandle
from stepwell.authoring.messages import Signal
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.codec import Typed, failure_of
from stepwell.engine.worker.journal import KnownWait
from stepwell.errors import CodecError, DefinitionError, RunCancelledError, RunError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId

if TYPE_CHECKING:
    from stepwell.authoring.wire.context import WireContext

T = TypeVar("T")
Out = TypeVar("Out")

_CANCELLED = ("CANCELLED", "child run ended with status cancelled")


class WireChild(ChildHandle[Out]):
    """A child that was started with `ctx.start`. Its id is not known here, and nothing reaches it but its input."""

    def __init__(
        self, context: WireContext, workflow: WorkflowRef[Any, Out], future: Any, *, is_detached: bool
    ) -> None:
        self._wire = context
        self._workflow = workflow
        self._future = future
        self._is_detached = is_detached

    @property
    def id(self) -> RunId:
        """Not over the wire."""
        raise self._refused("id")

    async def result(self, *, timeout: Duration | None = None) -> Out:
        """Wait for the child's end. `RunError` if it did not complete; `TimeoutError` leaves it running."""
        name = self._workflow.id
        if self._is_detached:
            raise DefinitionError(f"child {name} was started with on_parent_end='abandon': its end is not reported")
        limit = None if timeout is None else duration_ms(timeout, what=f"the timeout of {name}") / 1000
        async with asyncio.timeout(limit):
            known = await asyncio.shield(self._future)
        typed = self._wire._registry.output_of(self._workflow)
        return result_of(known, self._workflow, typed)  # type: ignore[no-any-return]

    async def send(self, signal: Signal[T], value: T) -> None:  # noqa: ARG002 - the signature is the base's
        """Not over the wire."""
        raise self._refused("send")

    async def cancel(self) -> None:
        """Not over the wire."""
        raise self._refused("cancel")

    def _refused(self, what: str) -> DefinitionError:
        return DefinitionError(
            f"child {self._workflow.id}: a body that a step worker runs has no `{what}` of its children; the wire "
            f"has no word for it"
        )


def check_parent_end(given: str) -> None:
    """Refuse what is none."""
    if given not in ("cancel", "abandon"):
        raise DefinitionError(f'ctx.start(on_parent_end={given!r}): give "cancel" or "abandon"')


def child_meta(
    registry: Registry, workflow: WorkflowRef[Any, Any], given: tuple[Any, ...], *, is_detached: bool
) -> dict[str, Any]:
    """What the orchestrator is told of a child."""
    raw: Raw = registry.codec.opened(registry.input_of(workflow, given), where=f"input of workflow {workflow.id}")
    meta: dict[str, Any] = {"childWorkflowId": workflow.id}
    if registry.types_of(workflow).has_input:
        meta["childInput"] = raw
    meta |= {"detach": is_detached, "tags": []}
    return meta | {"lockToVersion": workflow.spec.version} if workflow.spec.version else meta


def result_of(known: KnownWait, workflow: WorkflowRef[Any, Any], output: Typed[Any] | None) -> Any:
    """What the parent sees of the child's end. `RunError`."""
    failure = known.failure
    if failure is not None:
        is_cancelled = failure.code == _CANCELLED[0] or failure.message == _CANCELLED[1]
        kind = RunCancelledError if is_cancelled else RunError
        raise kind(f"child run of {workflow.id} failed: {failure}", run_id="", error=failure)
    if output is None:
        return None
    payload = NULL if known.payload is UNSET else known.payload
    try:
        return output.plain.decode(payload, where=f"the result of child {workflow.id}")
    except CodecError as error:
        raise RunError(str(error), run_id="", error=failure_of(error)) from None
