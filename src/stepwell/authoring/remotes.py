"""Workflows whose code lives elsewhere: known here by their names, and run by workers behind a dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, Unpack

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stepwell.authoring.registry import Registry
from stepwell.authoring.running import current_step
from stepwell.authoring.workflows import Definition, DefinitionKeywords, WorkflowRef, workflow_spec
from stepwell.codec import failure_of
from stepwell.engine.program import Origin
from stepwell.engine.remote.calls import Answer, RemoteCall
from stepwell.engine.remote.program import RemoteProgram
from stepwell.errors import DefinitionError
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import INVOCATION, RunId
from stepwell.model.policies import Retry, StepOptions

In = TypeVar("In")
Out = TypeVar("Out")

PATIENT = Retry(attempts=25, first_delay="1s", backoff=2.0, max_delay="5m", jitter=0.2)
"""How often a target that does not answer is asked again: for about an hour and a half."""
HASTY = Retry(attempts=8, first_delay="1s", backoff=2.0, max_delay="30s", jitter=0.2)
"""The same for a cancel: who cancels does not wait for a worker that is gone, beyond a minute and a half."""


class RemoteWorkflow(Definition[In, Out]):
    """A workflow whose code lives elsewhere: `RemoteWorkflow("invoice.issue", output=Receipt)`. Its runs are like any
    others; their bodies are run by the step worker that the app's `targets` name for it.

    `input` and `output` are checked here: the input when a run is started, the output when it completes.
    `worker_retry` says how often a worker that cannot be reached is asked again.
    """

    def __init__(
        self,
        id: str,
        *,
        input: Any = Any,
        output: Any = Any,
        worker_retry: Retry = PATIENT,
        **options: Unpack[DefinitionKeywords],
    ) -> None:
        self.spec = workflow_spec(id, options)
        self.input = input
        self.output = output
        self.worker_retry = worker_retry
        self.__doc__ = f"{id}, by a worker elsewhere."

    @property
    def origin(self) -> str:
        """The same for all that name it."""
        return f"a remote workflow {self.id}"


class InvocationHost(Protocol):
    """The running step of an invocation, as the dispatcher sees it."""

    @property
    def run_id(self) -> RunId:
        """The run whose step it is."""

    @property
    def workflow(self) -> str:
        """The workflow of that run."""

    @property
    def namespace(self) -> str:
        """Where the run is."""

    def note(self, entry: StepCompleted | StepFailed) -> None:
        """Journal this with the result of the invocation, or before."""

    def save_notes(self) -> None:
        """Journal what has been noted so far."""

    def write(self, stream: str, *, source: str, attempt: int, k: int, value: Raw, record: Raw = NULL) -> None:
        """Queue a chunk; all are written before the result of the invocation is. `record` is what the worker wrote of
        it beside the value, as JSON in clear."""


Dispatch = Callable[[RemoteCall, InvocationHost], Coroutine[Any, Any, Answer]]
"""Invokes a body elsewhere. It notes the steps that the worker ran, each once, and answers with the rest. Raises
`WorkerError` for what may be better the next time, and `FatalError` for what will not."""


class RemoteBinding:
    """The step of an invocation."""

    is_plain = True

    def __init__(self, registry: Registry, retry: Retry) -> None:
        self.options = StepOptions(name=INVOCATION, retry=retry)
        self._registry = registry

    async def fn(self, call: RemoteCall) -> Answer:
        """Invoke the body."""
        dispatch = self._registry.dispatch
        if dispatch is None:
            raise DefinitionError(
                f"workflow {call.journal.origin.created.workflow} lives elsewhere, and this app has no targets: give "
                "it some, as [[targets]] in stepwell.toml or in Stepwell(targets=[...])"
            )
        host: Any = current_step()._host
        return await dispatch(call, host)

    def decode_result(self, raw: Raw) -> Answer:
        """The answer in a journal. `CodecError`."""
        return self._registry.codec.typed(Answer).decode(raw, where="the answer of a worker")  # type: ignore[no-any-return]

    def isolate_result(self, value: Answer) -> tuple[Raw, Answer]:
        """The payload of an answer, and the answer."""
        return self._registry.codec.sealed(msgspec.json.encode(value)), value

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """What a call gets is the program's own."""
        return args, kwargs, 0


class RemoteHostOf:
    """What a remote program needs of its app."""

    def __init__(self, registry: Registry, workflow: RemoteWorkflow[Any, Any]) -> None:
        self._registry = registry
        self._output = registry.types_of(workflow).output
        self._where = f"the result of workflow {workflow.id}"

    def plain(self, raw: Raw) -> Raw:
        """The JSON behind a recorded payload."""
        return self._registry.codec.opened(raw, where="a payload")

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""
        return self._registry.codec.sealed(bytes(raw))

    def input_of(self, workflow: str, version: str, raw: Raw | UnsetType) -> Raw:
        """The payload of a child's input."""
        found: WorkflowRef[Any, Any] = self._registry.find(workflow, version) or WorkflowRef(workflow)
        if raw is UNSET:
            return self._registry.input_of(found, ())
        types = self._registry.types_of(found)
        if not types.has_input:
            return NULL
        where = f"input of workflow {workflow}"
        return types.input.encode(types.input.plain.decode(raw, where=where), where=where)

    def result(self, value: Raw) -> Raw:
        """The payload of the run's result."""
        return self._output.encode(self._output.plain.decode(value, where=self._where), where=self._where)

    def failure_of(self, error: BaseException) -> Failure:
        """The record of an exception."""
        return failure_of(error, codec=self._registry.codec)


def remote_program(registry: Registry, workflow: RemoteWorkflow[Any, Any], origin: Origin) -> RemoteProgram:
    """The program of one generation of a run whose code lives elsewhere."""
    retry = workflow.worker_retry
    hasty = retry if retry.attempts < HASTY.attempts else HASTY
    binding, cleanup = RemoteBinding(registry, retry), RemoteBinding(registry, hasty)
    return RemoteProgram(binding, origin, RemoteHostOf(registry, workflow), cleanup=cleanup)
