"""`@flow`: an `async def` that is compiled to a blueprint."""

from __future__ import annotations

from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar, Unpack, overload

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.context import Context
from stepwell.authoring.flows.compiling import compile_flow
from stepwell.authoring.workflows import DefinitionKeywords
from stepwell.engine.loop import WorkflowLoop
from stepwell.errors import NotInWorkflowError

In = TypeVar("In")
Out = TypeVar("Out")


class FlowKeywords(DefinitionKeywords, total=False):
    """The options of a flow, besides those of any workflow. `concurrency` bounds the nodes that run at a time."""

    id: str
    concurrency: int


class Flow(Blueprint[In, Out], Generic[In, Out]):
    """A blueprint that was written as a function. Outside of workflows a call runs the function as it is.

    `fn` is the function, `lines` says where in `file` each node comes from.
    """

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Out]], **options: Unpack[FlowKeywords]) -> None:
        id = options.get("id", getattr(fn, "__name__", "flow"))
        compiled = compile_flow(fn, id=id)
        input = compiled.input if compiled.has_input else type(None)
        others: dict[str, Any] = {name: value for name, value in options.items() if name != "id"}
        super().__init__(id, input=input, output=compiled.output, **others)
        document = compiled.document
        document["metadata"] = {**self._document.get("metadata", {}), **document["metadata"]}
        self._document = document
        self.implementations = dict(compiled.implementations)
        self.subflows = dict(compiled.flows)
        self.fn = fn
        self.file = compiled.file
        self.lines: Mapping[str, int] = compiled.lines
        self._takes_context = compiled.takes_context
        self.__name__ = id
        self.__qualname__ = getattr(fn, "__qualname__", id)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    @overload
    def __call__(self: Flow[None, Out]) -> Coroutine[None, None, Out]: ...
    @overload
    def __call__(self, input: In, /) -> Coroutine[None, None, Out]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """In a workflow: run it as a child and wait for its result. Elsewhere: run the function."""
        if _get_running_loop().__class__ is WorkflowLoop:
            return super().__call__(*args, **kwargs)
        if self._takes_context:
            raise NotInWorkflowError(
                f"flow {self.id} takes a context, which there is in runs only; start it: "
                f"await app.start({self.id}, ...)"
            )
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        version = f" v{self.spec.version}" if self.spec.version else ""
        return f"<flow {self.id}{version}>"


class FlowDecorator:
    """`@flow(...)` with options, before it meets its function."""

    def __init__(self, options: FlowKeywords) -> None:
        self._options = options

    @overload
    def __call__(self, fn: Callable[[Context, In], Coroutine[Any, Any, Out]], /) -> Flow[In, Out]: ...
    @overload
    def __call__(self, fn: Callable[[Context], Coroutine[Any, Any, Out]], /) -> Flow[None, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In], Coroutine[Any, Any, Out]], /) -> Flow[In, Out]: ...
    @overload
    def __call__(self, fn: Callable[[], Coroutine[Any, Any, Out]], /) -> Flow[None, Out]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """The flow."""
        return Flow(fn, **self._options)


@overload
def flow(
    fn: Callable[[Context, In], Coroutine[Any, Any, Out]], /, **options: Unpack[FlowKeywords]
) -> Flow[In, Out]: ...
@overload
def flow(fn: Callable[[Context], Coroutine[Any, Any, Out]], /, **options: Unpack[FlowKeywords]) -> Flow[None, Out]: ...
@overload
def flow(fn: Callable[[In], Coroutine[Any, Any, Out]], /, **options: Unpack[FlowKeywords]) -> Flow[In, Out]: ...
@overload
def flow(fn: Callable[[], Coroutine[Any, Any, Out]], /, **options: Unpack[FlowKeywords]) -> Flow[None, Out]: ...
@overload
def flow(**options: Unpack[FlowKeywords]) -> FlowDecorator: ...
def flow(fn: Callable[..., Any] | None = None, /, **options: Unpack[FlowKeywords]) -> Any:
    """Compile an `async def` of straight-line code to a blueprint: as `@flow`, or as `@flow(version="1")`.

    What it awaits become nodes, what it computes expressions. `FlowError` names the line of what cannot be compiled.
    """
    if fn is None:
        return FlowDecorator(options)
    return Flow(fn, **options)
