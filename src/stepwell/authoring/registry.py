"""The registry of one app: which workflows it has, and everything prepared once per type.

Decorators only describe. An app is built from the modules and objects that it includes; that is when annotations are
resolved and mistakes are reported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.bound import BoundStep
from stepwell.authoring.checking import check_blueprint, check_implementations
from stepwell.authoring.implementations import Implementation, found_implementations, has_type
from stepwell.authoring.nodes import Middleware
from stepwell.authoring.nodework import NodeBinder
from stepwell.authoring.snapshots import made_snapshot
from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import Definition, Workflow, WorkflowRef
from stepwell.codec import Codec, Typed, exception_of, failure_of, resolve_annotations
from stepwell.engine.graph.plan import Plan
from stepwell.engine.program import Origin
from stepwell.errors import (
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    StepwellError,
)
from stepwell.model.blueprints import Graph
from stepwell.model.entries import Act, OpenHook, SendSignal, StartChild
from stepwell.model.failures import NULL, Failure

if TYPE_CHECKING:
    from stepwell.authoring.remotes import Dispatch


class WorkflowTypes(Struct, frozen=True):
    """The prepared types of a workflow. `has_input`: it takes one; `default`: what it is if none is given."""

    input: Typed[Any]
    output: Typed[Any]
    has_input: bool = True
    default: Raw | None = None


class Registry:
    """The workflows of one app by id and version, and the bound steps."""

    def __init__(
        self,
        include: Iterable[object],
        codec: Codec,
        *,
        public_url: str = "http://127.0.0.1:7788",
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.codec = codec
        self.public_url = public_url
        self.middleware = tuple(middleware)
        self.plans: dict[Any, Plan] = {}
        self.dispatch: Dispatch | None = None
        """How bodies that live elsewhere are invoked; the app says so."""
        self._snapshots: dict[Any, tuple[Graph, Raw]] = {}
        self._checked: dict[Blueprint[Any, Any], Graph] = {}
        self._implementations: dict[str, Implementation] = {}
        self._workflows: dict[str, dict[str, Definition[Any, Any]]] = {}
        self._types: dict[WorkflowRef[Any, Any], WorkflowTypes] = {}
        self._steps: dict[Step[..., Any], BoundStep] = {}
        for item in include:
            self.include(item)

    # --- workflows

    def add(self, workflow: Definition[Any, Any]) -> None:
        """Register a workflow; another of the same id and version is replaced only by a redefinition of itself.

        `BlueprintError` for a blueprint with mistakes: they shall not wait until somebody starts it.
        """
        if isinstance(workflow, Blueprint) and self._checked.get(workflow) is not workflow.graph:
            check_blueprint(workflow)
            check_implementations(workflow, NodeBinder(self.codec, self.middleware, self.bind))
            self._checked[workflow] = workflow.graph
        versions = self._workflows.setdefault(workflow.id, {})
        present = versions.get(workflow.spec.version)
        if present is not None and present is not workflow and present.origin != workflow.origin:
            raise DefinitionError(
                f"two workflows are called {workflow}: {present.origin} and {workflow.origin}; give one an id="
            )
        versions[workflow.spec.version] = workflow
        self.types_of(workflow)
        if isinstance(workflow, Blueprint):
            self._add_children(workflow)

    def workflows(self) -> Iterator[Definition[Any, Any]]:
        """All workflows, in order of registration."""
        for versions in self._workflows.values():
            yield from versions.values()

    def find(self, id: str, version: str = "") -> Definition[Any, Any] | None:
        """The code for a run: of that version or accepting it; for a run without a version, the newest."""
        versions = self._workflows.get(id)
        if not versions:
            return None
        if version in versions:
            return versions[version]
        newest = list(versions.values())[-1]
        if version == "":
            return newest
        return next((item for item in reversed(versions.values()) if version in item.spec.accepts), None)

    def kinds(self) -> tuple[str, ...]:
        """`workflow@version` of every run that this app can drive."""
        kinds: set[str] = set()
        for workflow in self.workflows():
            kinds.update(f"{workflow.id}@{v}" for v in ("", workflow.spec.version, *workflow.spec.accepts))
        return tuple(sorted(kinds))

    def types_of(self, workflow: WorkflowRef[Any, Any]) -> WorkflowTypes:
        """The prepared types of a workflow, or of a reference to one."""
        types = self._types.get(workflow)
        if types is None:
            types = self._types[workflow] = self._prepare(workflow)
        return types

    def input_of(self, workflow: WorkflowRef[Any, Any], given: tuple[Any, ...]) -> Raw:
        """The payload of an input: `given` holds none or one."""
        types = self.types_of(workflow)
        where = f"input of workflow {workflow.id}"
        if not types.has_input:
            if given and given[0] is not None:
                raise DefinitionError(f"workflow {workflow.id} takes no input, {given[0]!r:.100} was given")
            return NULL
        if not given:
            if types.default is None:
                raise DefinitionError(f"workflow {workflow.id} needs its input")
            return types.default
        return types.input.encode(given[0], where=where)

    def encode_input(self, id: str, version: str, value: Any) -> Raw:
        """The payload of an input for `continue_as_new`."""
        workflow = self.find(id, version)
        return self.encode(value) if workflow is None else self.input_of(workflow, (value,))

    def output_of(self, workflow: WorkflowRef[Any, Any]) -> Typed[Any]:
        """The prepared type of the result. A reference by name uses the registered code's, if there is one."""
        if not isinstance(workflow, Definition) and workflow.input is Any and (found := self.find(workflow.id)):
            return self.types_of(found).output
        return self.types_of(workflow).output

    def snapshot_of(self, workflow: WorkflowRef[Any, Any]) -> Raw:
        """What a run of this is pinned to; null if it is no blueprint. `BlueprintError` if the blueprint is wrong."""
        if not isinstance(workflow, Blueprint):
            return NULL
        found = self._snapshots.get(workflow)
        if found is None or found[0] is not workflow.graph:
            found = self._snapshots[workflow] = (workflow.graph, made_snapshot(workflow, self.find))
        return found[1]

    # --- steps and values

    @property
    def implementations(self) -> Mapping[str, Implementation]:
        """What nodes of blueprints may use besides their own: all that was included, by name."""
        return self._implementations

    def step_binder(self, origin: Origin) -> tuple[object, Callable[[Step[..., Any]], BoundStep]]:  # noqa: ARG002
        """How steps are prepared for the nodes of this run; the first part is the same for runs that share it."""
        return None, self.bind

    def bind(self, step: Step[..., Any]) -> BoundStep:
        """The step prepared for this app."""
        try:
            return self._steps[step]
        except KeyError:
            bound = BoundStep(step, self.codec)
            if step.spec.key is None or len(self._steps) < 10_000:
                self._steps[step] = bound
            return bound

    def undoing(self) -> frozenset[str]:
        """The names of the steps that undo others, as far as those are known here."""
        undos = [step.compensation for step in self._steps if step.compensation is not None]
        return frozenset(undo.spec.name for undo in undos)

    def encode(self, value: Any, type: Any = Any, *, what: str = "value") -> Raw:
        """A payload; plain JSON types unless `type` is given."""
        return self.codec.typed(type).encode(value, where=what)

    def decode(self, raw: Raw, type: Any = Any, *, what: str = "value") -> Any:
        """The value of a payload."""
        return self.codec.typed(type).decode(raw, where=what)

    # --- inside

    def include(self, item: object) -> None:
        """Register what a module, a module name, a workflow or a step holds. Repeating is harmless."""
        if isinstance(item, str):
            item = sys.modules.get(item) or importlib.import_module(item)
        if isinstance(item, ModuleType):
            self._include_module(item)
        elif isinstance(item, Definition):
            self.add(item)
        elif isinstance(item, Step):
            self.bind(item)
        elif not isinstance(item, WorkflowRef | Mapping) and not callable(item):
            raise DefinitionError(f"include holds {item!r}; give modules, module names, workflows, steps or nodes")
        if not isinstance(item, Workflow):
            self._implementations.update(found_implementations([item]))

    def _add_children(self, blueprint: Blueprint[Any, Any]) -> None:
        """The workflows that are nodes of it: runs of their own, which this app must be able to drive."""
        for item in blueprint.all_blueprints():
            for child in item.implementations.values():
                if isinstance(child, Definition) and self.find(child.id, child.spec.version) is not child:
                    self.add(child)

    def _include_module(self, module: ModuleType) -> None:
        for value in list(vars(module).values()):
            if has_type(value, Definition):
                self.add(value)
            elif has_type(value, Step):
                self.bind(value)

    def _prepare(self, workflow: WorkflowRef[Any, Any]) -> WorkflowTypes:
        if not isinstance(workflow, Workflow):
            output = self._typed(workflow.output, f"the result of workflow {workflow.id}")
            return WorkflowTypes(
                self._typed(workflow.input, f"the input of workflow {workflow.id}"), output, True, NULL
            )
        hints = resolve_annotations(workflow.fn)
        parameters = list(inspect.signature(workflow.fn).parameters.values())
        output = self._typed(hints.get("return", Any), f"the result of workflow {workflow.id}")
        if len(parameters) == 1:
            return WorkflowTypes(self.codec.typed(None), output, has_input=False, default=NULL)
        typed = self._typed(hints.get(parameters[1].name, Any), f"the input of workflow {workflow.id}")
        default = parameters[1].default
        if default is inspect.Parameter.empty:
            return WorkflowTypes(typed, output)
        return WorkflowTypes(typed, output, True, typed.encode(default, where=f"default input of {workflow.id}"))

    def _typed(self, annotation: Any, what: str) -> Typed[Any]:
        try:
            return self.codec.typed(annotation)
        except DefinitionError as error:
            raise DefinitionError(f"{what}: {error}") from None


class RecordTranslator:
    """How the values and errors of one workflow become records, and come back."""

    def __init__(self, registry: Registry, workflow: Workflow[Any, Any]) -> None:
        self._registry = registry
        self._output = registry.output_of(workflow)
        self._where = f"the result of workflow {workflow.id}"

    def encode_result(self, value: Any) -> Raw:
        """The run's result."""
        return self._output.encode(value, where=self._where)

    def plain(self, raw: Raw) -> Raw:
        """The JSON of a payload."""
        return self._registry.codec.opened(raw, where="a payload")

    def is_same(self, one: Raw, other: Raw) -> bool:
        """Whether two payloads hold the same value."""
        return self._registry.codec.same(one, other, where="a payload")

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""
        return self._registry.codec.sealed(bytes(raw))

    def failure_of(self, error: BaseException) -> Failure:
        """The record of what left the body. That of a child keeps the child's types."""
        failure = failure_of(error, codec=self._registry.codec)
        if isinstance(error, RunError) and isinstance(error.error, Failure):
            return msgspec.structs.replace(failure, types=(*error.error.types, *failure.types))
        return failure

    def step_error(self, definition: Any, failure: Failure) -> BaseException:
        """What the body sees of a failed step."""
        return exception_of(failure, raises=definition.options.raises, codec=self._registry.codec)

    def act_error(self, act: Act, failure: Failure) -> BaseException:
        """What the body sees of an act that could not be done."""
        raises: tuple[type[StepwellError], ...] = _ACT_ERRORS.get(type(act), ())
        return exception_of(failure, raises=raises, codec=self._registry.codec)


_ACT_ERRORS: Mapping[type, tuple[type[StepwellError], ...]] = {
    StartChild: (RunConflictError,),
    OpenHook: (HookError,),
    SendSignal: (RunClosedError, RunNotFoundError),
}
