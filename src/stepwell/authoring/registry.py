"""The registry of one app: which workflows it has, and everything prepared once per type.

Decorators only describe. An app is built from the modules and objects that it includes; that is when annotations are
resolved and mistakes are reported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import Workflow, WorkflowRef
from stepwell.codec import Codec, Typed, exception_of, failure_of, resolve_annotations
from stepwell.errors import (
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    StepwellError,
)
from stepwell.model.entries import Act, OpenHook, SendSignal, StartChild
from stepwell.model.failures import NULL, Failure
from stepwell.model.policies import StepOptions

_ATOMS = frozenset({int, str, bool, float, type(None)})


class BoundStep:
    """A step prepared for one app: its types are resolved and its values can be written down."""

    __slots__ = (
        "_more_keywords",
        "_more_positional",
        "_named",
        "_positional",
        "_result",
        "_where",
        "codec",
        "fn",
        "is_plain",
        "options",
        "step",
    )

    def __init__(self, step: Step[..., Any], codec: Codec) -> None:
        self.step = step
        self.codec = codec
        self.options: StepOptions = step.spec
        self.fn = step.__wrapped__
        self.is_plain = step.is_async and step.spec.timeout_ms is None and step.spec.deadline_ms is None
        self._where = f"the result of step {step.spec.name}"
        hints = {} if step.signature is None else _hints(step)
        result = _typed_or_plain(codec, hints.get("return", Any), is_strict=not step.is_foreign)
        self._result: Typed[Any] = result
        self._positional: list[tuple[str, Typed[Any]]] = []
        self._named: dict[str, Typed[Any]] = {}
        self._more_positional = ("args", codec.typed(Any))
        self._more_keywords: Typed[Any] = codec.typed(Any)
        for parameter in () if step.signature is None else step.signature.parameters.values():
            hint = hints.get(parameter.name, Any)
            self._prepare(parameter, _typed_or_plain(codec, hint, is_strict=not step.is_foreign))

    def decode_result(self, raw: Raw) -> Any:
        """The value that the body sees."""
        return self._result.decode(raw, where=self._where)

    def isolate_result(self, value: Any) -> tuple[Raw, Any]:
        """The payload of a result, and what the body will see; `CodecError` if these differ from `value`."""
        return self._result.isolate(value, where=self._where)

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """Arguments that share nothing with the body's objects, and a checksum of them."""
        if not kwargs:
            for value in args:
                if type(value) not in _ATOMS:
                    break
            else:
                return args, kwargs, crc32(msgspec.json.encode(args))
        return self._copied(args, kwargs)

    def _copied(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        total = 0
        copies = []
        known = len(self._positional)
        for index, value in enumerate(args):
            name, typed = self._positional[index] if index < known else self._more_positional
            raw, copy = typed.isolate(value, where=f"argument {name} of step {self.options.name}")
            total = crc32(raw, total)
            copies.append(copy)
        keywords = {}
        for name, value in kwargs.items():
            typed = self._named.get(name, self._more_keywords)
            raw, keywords[name] = typed.isolate(value, where=f"argument {name} of step {self.options.name}")
            total = crc32(raw, total)
        return tuple(copies), keywords, total

    def _prepare(self, parameter: inspect.Parameter, typed: Typed[Any]) -> None:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            self._more_positional = (parameter.name, typed)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self._more_keywords = typed
        else:
            self._named[parameter.name] = typed
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                self._positional.append((parameter.name, typed))


class WorkflowTypes(Struct, frozen=True):
    """The prepared types of a workflow. `has_input`: it takes one; `default`: what it is if none is given."""

    input: Typed[Any]
    output: Typed[Any]
    has_input: bool = True
    default: Raw | None = None


class Registry:
    """The workflows of one app by id and version, and the bound steps."""

    def __init__(self, include: Iterable[object], codec: Codec, *, public_url: str = "http://127.0.0.1:7788") -> None:
        self.codec = codec
        self.public_url = public_url
        self._workflows: dict[str, dict[str, Workflow[Any, Any]]] = {}
        self._types: dict[WorkflowRef[Any, Any], WorkflowTypes] = {}
        self._steps: dict[Step[..., Any], BoundStep] = {}
        for item in include:
            self.include(item)

    # --- workflows

    def add(self, workflow: Workflow[Any, Any]) -> None:
        """Register a workflow; another of the same id and version is replaced only by a redefinition of itself."""
        versions = self._workflows.setdefault(workflow.id, {})
        present = versions.get(workflow.spec.version)
        if present is not None and present is not workflow and _origin(present) != _origin(workflow):
            raise DefinitionError(
                f"two workflows are called {workflow}: {_origin(present)} and {_origin(workflow)}; give one an id="
            )
        versions[workflow.spec.version] = workflow
        self.types_of(workflow)

    def workflows(self) -> Iterator[Workflow[Any, Any]]:
        """All workflows, in order of registration."""
        for versions in self._workflows.values():
            yield from versions.values()

    def find(self, id: str, version: str = "") -> Workflow[Any, Any] | None:
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
        if not isinstance(workflow, Workflow) and workflow.input is Any and (found := self.find(workflow.id)):
            return self.types_of(found).output
        return self.types_of(workflow).output

    # --- steps and values

    def bind(self, step: Step[..., Any]) -> BoundStep:
        """The step prepared for this app."""
        try:
            return self._steps[step]
        except KeyError:
            bound = BoundStep(step, self.codec)
            if step.spec.key is None or len(self._steps) < 10_000:
                self._steps[step] = bound
            return bound

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
        elif isinstance(item, Workflow):
            self.add(item)
        elif isinstance(item, Step):
            self.bind(item)
        elif not isinstance(item, WorkflowRef):
            raise DefinitionError(f"include holds {item!r}; give modules, module names, workflows or steps")

    def _include_module(self, module: ModuleType) -> None:
        for value in list(vars(module).values()):
            if isinstance(value, Workflow):
                self.add(value)
            elif isinstance(value, Step):
                self.bind(value)

    def _prepare(self, workflow: WorkflowRef[Any, Any]) -> WorkflowTypes:
        if not isinstance(workflow, Workflow):
            return WorkflowTypes(self.codec.typed(workflow.input), self.codec.typed(workflow.output), True, NULL)
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


def _hints(step: Step[..., Any]) -> dict[str, Any]:
    try:
        return resolve_annotations(step.__wrapped__)
    except DefinitionError:
        if step.is_foreign:
            return {}
        raise


def _typed_or_plain(codec: Codec, annotation: Any, *, is_strict: bool) -> Typed[Any]:
    try:
        return codec.typed(annotation)
    except DefinitionError:
        if is_strict:
            raise
        # A function that its user did not write: its annotations promise nothing about JSON.
        return codec.typed(Any)


def _origin(workflow: Workflow[Any, Any]) -> str:
    return f"{workflow.__module__}.{workflow.__qualname__}"
