"""Workflows: `async def` functions that survive."""

from __future__ import annotations

import inspect
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, overload

from msgspec import Struct

from stepwell.engine.loop import WorkflowLoop
from stepwell.errors import DefinitionError, NotInWorkflowError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.policies import Retry

if TYPE_CHECKING:
    from stepwell.authoring.context import Context

In = TypeVar("In")
Out = TypeVar("Out")


class DefinitionKeywords(TypedDict, total=False):
    """The options of a workflow that do not name it.

    Without `version`, a run goes on with the newest code, checked by replay; with one, it stays on it, unless newer
    code `accepts` that version. `timeout` bounds a whole run. `retry` restarts a failed run from its first failed step.
    """

    version: str
    accepts: list[str]
    timeout: Duration
    retry: Retry
    tags: dict[str, str]
    queue: str
    limit: Any
    schedules: list[Any]


class WorkflowKeywords(DefinitionKeywords, total=False):
    """The options of a workflow. `id` is its name (by default the function's); it must stay when that is renamed."""

    id: str


class WorkflowSpec(Struct, frozen=True, kw_only=True):
    """The options of a workflow, validated; durations in ms."""

    id: str
    version: str = ""
    accepts: tuple[str, ...] = ()
    timeout_ms: int | None = None
    retry: Retry | None = None
    tags: dict[str, str] = {}
    queue: str = "default"


class WorkflowRef(Generic[In, Out]):
    """A workflow by name, for programs that do not have its code. Input and output are not checked against it."""

    def __init__(self, id: str, *, version: str = "", input: Any = Any, output: Any = Any) -> None:
        self.spec = WorkflowSpec(id=id, version=version)
        self.input = input
        self.output = output

    @property
    def id(self) -> str:
        """The workflow's name."""
        return self.spec.id

    @overload
    def __call__(self: WorkflowRef[None, Out]) -> Coroutine[None, None, Out]: ...
    @overload
    def __call__(self, input: In, /) -> Coroutine[None, None, Out]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """In a workflow: run it as a child and wait for its result."""
        loop = _get_running_loop()
        if loop.__class__ is not WorkflowLoop:
            raise NotInWorkflowError(
                f"workflow {self.id} was called outside of a workflow; start it: await app.start({self.id}, ...)"
            )
        return loop.program.context.call(self, *self.given(args, kwargs))

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The input as a tuple of none or one."""
        values = (*args, *kwargs.values())
        if len(values) > 1:
            raise TypeError(f"workflow {self.id} takes one input, {len(values)} were given")
        return values

    def __repr__(self) -> str:
        version = f" v{self.spec.version}" if self.spec.version else ""
        return f"<workflow {self.id}{version}>"


class Definition(WorkflowRef[In, Out]):
    """A workflow that is here and not only named: a function, or a blueprint."""

    @property
    def origin(self) -> str:
        """Where it was made; the same for a redefinition of itself."""
        return f"{self.__module__}.{getattr(self, '__qualname__', self.id)}"


class Workflow(Definition[In, Out]):
    """An `async def f(ctx)` or `async def f(ctx, input)` that becomes a durable run when it is started."""

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Out]], spec: WorkflowSpec) -> None:
        _check_shape(fn, spec.id)
        self.spec = spec
        self.fn = fn
        self.__name__ = spec.id
        self.__qualname__ = getattr(fn, "__qualname__", spec.id)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn


class WorkflowDecorator:
    """`@workflow(...)` with options, before it meets its function."""

    def __init__(self, options: WorkflowKeywords) -> None:
        self._options = options

    @overload
    def __call__(self, fn: Callable[[Context, In], Coroutine[Any, Any, Out]], /) -> Workflow[In, Out]: ...
    @overload
    def __call__(self, fn: Callable[[Context], Coroutine[Any, Any, Out]], /) -> Workflow[None, Out]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """The workflow."""
        return Workflow(fn, _spec(fn, self._options))


@overload
def workflow(
    fn: Callable[[Context, In], Coroutine[Any, Any, Out]], /, **options: Unpack[WorkflowKeywords]
) -> Workflow[In, Out]: ...
@overload
def workflow(
    fn: Callable[[Context], Coroutine[Any, Any, Out]], /, **options: Unpack[WorkflowKeywords]
) -> Workflow[None, Out]: ...
@overload
def workflow(**options: Unpack[WorkflowKeywords]) -> WorkflowDecorator: ...
def workflow(fn: Callable[..., Any] | None = None, /, **options: Unpack[WorkflowKeywords]) -> Any:
    """Make an `async def` a workflow: as `@workflow`, or as `@workflow(version="1")`."""
    if fn is None:
        return WorkflowDecorator(options)
    return Workflow(fn, _spec(fn, options))


def _spec(fn: Callable[..., Any], options: WorkflowKeywords) -> WorkflowSpec:
    return workflow_spec(options.get("id", getattr(fn, "__name__", "workflow")), options)


def workflow_spec(id: str, options: DefinitionKeywords) -> WorkflowSpec:
    """The options of the workflow `id`, validated. `DefinitionError`."""
    names = {*WorkflowKeywords.__annotations__, *DefinitionKeywords.__annotations__}
    unknown = sorted(set(options) - names)
    if unknown:
        known = ", ".join(sorted(names))
        raise DefinitionError(f"workflow {id} has no option {unknown[0]!r}; there are: {known}")
    for name in ("limit", "schedules"):
        if name in options:
            raise DefinitionError(f"workflow {id}: the option {name!r} is not available in this version")
    if not id or "@" in id:
        raise DefinitionError(f"workflow {id!r}: an id is not empty and has no '@'")
    timeout = options.get("timeout")
    return WorkflowSpec(
        id=id,
        version=options.get("version", ""),
        accepts=tuple(options.get("accepts", ())),
        timeout_ms=None if timeout is None else duration_ms(timeout, what=f"timeout of workflow {id}"),
        retry=options.get("retry"),
        tags=dict(options.get("tags", {})),
        queue=options.get("queue", "default"),
    )


def _check_shape(fn: Callable[..., Any], id: str) -> None:
    if not inspect.iscoroutinefunction(fn):
        raise DefinitionError(f"workflow {id} is not an `async def`")
    parameters = list(inspect.signature(fn).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not 1 <= len(parameters) <= 2 or any(parameter.kind not in plain for parameter in parameters):
        raise DefinitionError(
            f"workflow {id} takes ({', '.join(map(str, parameters))}); write `async def {id}(ctx: Context)` or "
            f"`async def {id}(ctx: Context, input: T)`: one input, a dataclass or Struct if it is more than one value"
        )
    if parameters[0].name == "self":
        raise DefinitionError(f"workflow {id} is a method; workflows are module-level functions")
