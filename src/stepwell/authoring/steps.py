"""Steps: functions whose results are journaled.

Calling a step always gives a native coroutine, inside a workflow and elsewhere. That keeps the types honest, lets
type checkers and Python itself point at a forgotten `await`, and makes steps work wherever coroutines do.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from msgspec import structs

from stepwell.authoring.sagas import Undo, remember
from stepwell.engine.loop import WorkflowLoop
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.policies import Retry, StepOptions

P = ParamSpec("P")
R = TypeVar("R")


_LATER = ("queue", "limit", "transaction")


class StepKeywords(TypedDict, total=False):
    """The options of a step.

    `timeout` bounds one attempt; `deadline` all attempts together, from the call on. `raises` are exception types that
    cross as themselves and are not retried. `key` makes the step's id independent of the order of calls. `lease` is
    for steps that hold the interpreter for longer than a lease.
    """

    name: str
    key: str
    retry: Retry | None
    timeout: Duration
    deadline: Duration
    lease: Duration
    raises: type[Exception] | tuple[type[Exception], ...]
    queue: str
    limit: Any
    transaction: bool


class Step(Generic[P, R]):
    """A function whose result is journaled when a workflow awaits it. Elsewhere it just runs."""

    def __init__(self, fn: Callable[..., Any], spec: StepOptions, *, is_foreign: bool = False) -> None:
        self.spec = spec
        self.compensation: Step[..., Any] | None = None
        self.is_foreign = is_foreign
        self.is_async = _is_async(fn)
        self._fn = fn
        self._arity, self._signature = _shape(fn, spec.name)
        self.__name__ = spec.name
        self.__qualname__ = getattr(fn, "__qualname__", spec.name)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    # None, not Any, for what passes between a coroutine and its loop: with Any, mypy finds that several overloads of
    # `gather` fit, and the types of the results are lost.
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R]:
        """Run the step: journaled in a workflow, plainly elsewhere. Arguments are bound here."""
        coroutine: Any = _call(self, args, kwargs)
        coroutine.__name__ = self.__name__
        coroutine.__qualname__ = self.__qualname__
        return coroutine  # type: ignore[no-any-return]

    def options(self, **options: Unpack[StepKeywords]) -> Step[P, R]:
        """The same step with other options for the calls made through what this returns."""
        other = Step[P, R](self._fn, step_options(options, self.spec), is_foreign=self.is_foreign)
        other.compensation = self.compensation
        return other

    def compensate(self, undo: Callable[Concatenate[R, P], Any]) -> Step[..., Any]:
        """Register what undoes this step in a saga. It is a step itself, and gets the result, then the arguments."""
        compensation = undo if isinstance(undo, Step) else Step[..., Any](undo, step_options({}, _named(undo)))
        self.compensation = compensation
        return compensation

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with defaults applied. `TypeError` if they do not fit, as from a plain call."""
        if not kwargs and len(args) == self._arity:
            return args, kwargs
        if self._signature is None:
            return args, kwargs
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}() {error}") from None
        bound.apply_defaults()
        return bound.args, bound.kwargs

    @property
    def signature(self) -> inspect.Signature | None:
        """The parameters, or None where Python cannot tell."""
        return self._signature

    def __repr__(self) -> str:
        return f"<step {self.__name__}>"

    def __get__(self, instance: object, owner: type | None = None) -> Step[P, R]:
        if instance is not None:
            raise DefinitionError(
                f"step {self.__name__} is called as a method of {type(instance).__name__}; steps are module-level "
                "functions: `self` would not survive a crash. Pass what it needs as arguments"
            )
        return self


class AsyncStep(Step[P, R]):
    """A step made of an `async def`."""

    @property
    def fn(self) -> Callable[P, Coroutine[None, None, R]]:
        """The function itself, as it was written."""
        return self._fn


class SyncStep(Step[P, R]):
    """A step made of a `def`: runs in a thread."""

    @property
    def fn(self) -> Callable[P, R]:
        """The function itself, as it was written."""
        return self._fn


class StepDecorator:
    """`@step(...)` with options, before it meets its function."""

    def __init__(self, options: StepKeywords) -> None:
        self._options = options

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncStep[P, R]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """The step."""
        return _make(fn, step_options(self._options, _named(fn)))


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[StepKeywords]) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]
@overload
def step(fn: Callable[P, R], /, **options: Unpack[StepKeywords]) -> SyncStep[P, R]: ...
@overload
def step(**options: Unpack[StepKeywords]) -> StepDecorator: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Unpack[StepKeywords]) -> Any:
    """Make a function a step: as `@step`, as `@step(timeout="5s")`, or as `step(httpx.get, name="get")(url)`."""
    if fn is None:
        return StepDecorator(options)
    if not callable(fn):
        raise DefinitionError(f"step({fn!r}): a step is made of a function")
    if isinstance(fn, Step):
        return fn.options(**options)
    return _make(fn, step_options(options, _named(fn)), is_foreign=bool(options))


def step_options(options: StepKeywords, base: StepOptions) -> StepOptions:
    """The options over those of `base`, validated; durations in ms."""
    what = f"step {options.get('name', base.name)}"
    changes: dict[str, Any] = {}
    for keyword, value in options.items():
        if keyword in ("timeout", "deadline", "lease"):
            changes[f"{keyword}_ms"] = duration_ms(cast("Duration", value), what=f"{keyword} of {what}")
        elif keyword == "retry":
            changes["retry"] = Retry(attempts=1) if value is None else value
        elif keyword == "raises":
            changes["raises"] = _exception_types(value, what)
        elif keyword in _LATER and value:
            raise DefinitionError(f"{what}: the option {keyword!r} is not available in this version")
        elif keyword in StepKeywords.__annotations__:
            changes[keyword] = value
        else:
            known = ", ".join(sorted(StepKeywords.__annotations__))
            raise DefinitionError(f"{what} has no option {keyword!r}; there are: {known}")
    spec = structs.replace(base, **changes)
    if not spec.name or any(sign in spec.name for sign in "[]:/ "):
        raise DefinitionError(f"{what}: a name has no spaces and none of [ ] : /")
    return spec


async def _call(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    loop = _get_running_loop()
    if loop.__class__ is not WorkflowLoop:
        return await _run_plainly(step, args, kwargs)
    program = loop.program
    args, kwargs = step.bound(args, kwargs)
    future = program.run_step(program.bind(step), args, kwargs)
    value = program.answer if future is None else await future
    if step.compensation is not None:
        id = "" if future is None else future.command.id
        remember(Undo(id, step.compensation, value, args, kwargs))
    return value


async def _run_plainly(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if step.is_async:
        return await step.__wrapped__(*args, **kwargs)
    return await asyncio.to_thread(step.__wrapped__, *args, **kwargs)


def _make(fn: Callable[..., Any], spec: StepOptions, *, is_foreign: bool = False) -> Step[..., Any]:
    kind: type[Step[..., Any]] = AsyncStep if inspect.iscoroutinefunction(fn) else SyncStep
    return kind(fn, spec, is_foreign=is_foreign)


def _named(fn: Callable[..., Any]) -> StepOptions:
    inner = fn.func if isinstance(fn, functools.partial) else fn
    name = getattr(inner, "__name__", type(inner).__name__)
    return StepOptions(name="lambda" if name == "<lambda>" else name)


def _exception_types(value: Any, what: str) -> tuple[type[BaseException], ...]:
    types = value if isinstance(value, tuple) else (value,)
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise DefinitionError(f"raises of {what} holds {kind!r}; give exception classes")
    return types


def _is_async(fn: Callable[..., Any]) -> bool:
    """Also for objects with an `async def __call__`."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _shape(fn: Callable[..., Any], name: str) -> tuple[int, inspect.Signature | None]:
    """The number of arguments that need no binding (-1: never), and the signature."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return -1, None
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if "self" in signature.parameters and next(iter(signature.parameters)) == "self":
        raise DefinitionError(
            f"step {name} is a method; steps are module-level functions: `self` would not survive a crash"
        )
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return (len(kinds) if all(kind in plain for kind in kinds) else -1), signature
