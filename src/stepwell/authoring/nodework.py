"""Nodes as steps: implementations prepared for one app.

A node is a step, a function of `NodeContext`, or a class with `prep`, `exec` and `post`. To the engine and the worker
all of them are steps, whose result is an output, an action and what was written to the state.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec
from msgspec import Raw, Struct, structs

from stepwell.authoring.bound import BoundStep
from stepwell.authoring.nodes import DELETED, Middleware, NodeContext, NodeResult
from stepwell.authoring.nodetypes import class_input_type, class_return_type, input_type, return_type, signed
from stepwell.authoring.running import current_step
from stepwell.authoring.steps import Step
from stepwell.codec import Codec, Typed
from stepwell.engine.graph.outcome import NodeCall, NodeOutcome
from stepwell.errors import CodecError, DefinitionError, FatalError
from stepwell.model.blueprints import Node
from stepwell.model.policies import NO_RETRY, Retry, StepOptions

Bind = Callable[[Step[..., Any]], BoundStep]
_JSON_TYPES = (dict, list, str, int, float, bool, type(None))


class _Body(Protocol):
    """An implementation, prepared: from a call to what `BoundNode.isolate_result` takes."""

    is_async: bool

    def __call__(self, call: NodeCall) -> Any: ...


class Reply(Struct):
    """What came out of a node's code: its result, and what it wrote to the state."""

    result: Any
    writes: Mapping[str, Any]


class _Shape(Struct, frozen=True):
    """How the worker calls it: as it calls a step."""

    is_async: bool
    __wrapped__: Any


class Recorded:
    """A node whose outcomes are read from a journal; there is no code behind it."""

    __slots__ = ("_codec", "_where", "options")

    def __init__(self, node: Node, codec: Codec, options: StepOptions | None = None) -> None:
        self.options = options or StepOptions(name=node.id)
        self._codec = codec
        self._where = f"the output of node {node.id!r}"

    def decode_result(self, raw: Raw) -> NodeOutcome:
        """The outcome that a journal holds."""
        try:
            return msgspec.json.decode(self._codec.opened(raw, where=self._where), type=NodeOutcome)
        except msgspec.MsgspecError as error:
            raise CodecError(f"{self._where}: {error}") from None

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """A node's call is made for it alone."""
        return args, kwargs, 0


class BoundNode(Recorded):
    """A node of a blueprint prepared for one app. To the engine and the worker it is a step."""

    __slots__ = ("_output", "_returns", "fn", "is_plain", "step")

    def __init__(
        self, node: Node, body: _Body, options: StepOptions, codec: Codec, output: Typed[Any], returns: Any = Any
    ) -> None:
        super().__init__(node, codec, options)
        self.fn = body
        self.step = _Shape(body.is_async, body)
        self.is_plain = body.is_async and options.timeout_ms is None and options.deadline_ms is None
        self._output = output
        self._returns = returns

    def isolate_result(self, value: Any) -> tuple[Raw, NodeOutcome]:
        """The payload of what the node's code gave, and the outcome as the program sees it."""
        outcome = self._outcome(value)
        return self._codec.sealed(msgspec.json.encode(outcome)), outcome

    def _outcome(self, value: Any) -> NodeOutcome:
        if type(value) is not Reply:
            return NodeOutcome(output=self._output.encode(value, where=self._where))
        result, writes = value.result, value.writes
        if not writes and not isinstance(result, NodeResult):
            return NodeOutcome(output=self._encoded(result))
        action: str | None = None
        nodes: tuple[Raw, ...] = ()
        if isinstance(result, NodeResult):
            action = _checked_action(result.action, self._where)
            nodes = tuple(self._plain(node, "a dynamic node of") for node in result.dynamic_nodes)
            result = result.output
        return NodeOutcome(
            output=self._encoded(result),
            action=action,
            set={key: self._plain(item, f"key {key!r} of") for key, item in writes.items() if item is not DELETED},
            delete=tuple(key for key, item in writes.items() if item is DELETED),
            nodes=nodes,
        )

    def _encoded(self, value: Any) -> Raw:
        """The output as JSON. Code that is no step may return what it is annotated with, or one typed value."""
        try:
            return self._output.encode(value, where=self._where)
        except CodecError:
            raw = self._as(self._returns, value) or self._as(type(value), value)
            if raw is None:
                raise
            return raw

    def _plain(self, value: Any, what: str) -> Raw:
        where = f"{what} {self._where.removeprefix('the output of ')}"
        try:
            return self._codec.typed(Any).plain.encode(value, where=where)
        except CodecError:
            raw = self._as(type(value), value)
            if raw is None:
                raise
            return raw

    def _as(self, type: Any, value: Any) -> Raw | None:
        if type is Any or type in _JSON_TYPES:
            return None
        try:
            return self._codec.typed(type).plain.encode(value, where=self._where)
        except DefinitionError:
            return None


class NodeBinder:
    """Prepares the nodes of one blueprint. What does not depend on the node is prepared once per implementation."""

    def __init__(self, codec: Codec, middleware: Sequence[Middleware], bind: Bind) -> None:
        self._codec = codec
        self._middleware = middleware
        self._bind = bind
        self._functions: dict[int, _FunctionBody] = {}

    def __call__(self, node: Node, implementation: Any) -> BoundNode:
        """A node with its implementation, ready to run. `DefinitionError` if it is none that a node can have."""
        codec, output = self._codec, self._codec.typed(Any)
        options = StepOptions(name=node.id, retry=NO_RETRY)
        body: _Body
        returns: Any = Any
        if isinstance(implementation, Step):
            step = self._bind(implementation)
            body, options, output = _StepBody(node, step), step.options, step.output
        elif inspect.isclass(implementation) and callable(getattr(implementation, "exec", None)):
            body = _ClassBody(node, implementation, codec)
            returns = class_return_type(implementation)
        elif callable(implementation) and not inspect.isclass(implementation):
            body = self._function(implementation)
            returns = body.returns
        else:
            raise DefinitionError(
                f"node {node.id!r} is made of {implementation!r}; give a step, a function of NodeContext, or a class "
                f"with exec"
            )
        if self._middleware:
            body = _Surrounded(body, self._middleware)
        return BoundNode(node, body, _options(node, options), codec, output.plain, returns)

    def _function(self, implementation: Callable[..., Any]) -> _FunctionBody:
        body = self._functions.get(id(implementation))  # not all callables can be hashed; the body keeps it alive
        if body is None:
            body = self._functions[id(implementation)] = _FunctionBody(implementation, self._codec)
        return body


def _options(node: Node, base: StepOptions) -> StepOptions:
    """A step's own options, and over them what the blueprint says."""
    config = node.config
    changes: dict[str, Any] = {}
    if config.max_retries is not None or config.retry_delay:
        changes["retry"] = Retry(
            attempts=config.max_retries or base.retry.attempts,
            first_delay=f"{config.retry_delay}ms",
            backoff=config.backoff,
            max_delay=f"{config.max_delay}ms",
            jitter=0.0,
            on=base.retry.on,
        )
    if config.timeout is not None:
        changes["timeout_ms"] = config.timeout
    if changes or base.name != node.id:
        return structs.replace(base, name=node.id, **changes)
    return base


def _checked_action(action: Any, where: str) -> str | None:
    if action is None or isinstance(action, str):
        return action
    raise CodecError(f"the action of {where.removeprefix('the output of ')} is {action!r}; give text, or None")


# --- the kinds of implementations


class _StepBody:
    """A step. Its arguments are the fields of its input if these are named as they are; else the input is the first."""

    def __init__(self, node: Node, bound: BoundStep) -> None:
        self.bound = bound
        self.is_async = bound.step.is_async
        self._fn = bound.step.__wrapped__
        self._names = bound.parameter_names
        inputs = node.inputs
        self._is_by_name = isinstance(inputs, dict) and bool(inputs) and set(inputs) <= set(self._names)
        self._where = f"node {node.id!r}"

    def __call__(self, call: NodeCall) -> Any:
        args, kwargs = self.arguments(call)
        return self._fn(*args, **kwargs)

    def arguments(self, call: NodeCall) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the step is called with."""
        raw = call.raw
        if not self._names:
            return (), {}
        if self._is_by_name and raw is not None:
            fields = msgspec.json.decode(raw, type=dict[str, Raw])
            return (), {name: self._argument(name, field) for name, field in fields.items()}
        if raw is None:
            return self.bound.step.bound((), {}) if self.bound.has_defaults else ((None,), {})
        if len(self._names) == 1 or not _is_object_of(raw, self._names):
            return (self._argument(self._names[0], raw),), {}
        fields = msgspec.json.decode(raw, type=dict[str, Raw])
        return (), {name: self._argument(name, field) for name, field in fields.items()}

    def _argument(self, name: str, raw: Raw) -> Any:
        return self.bound.decode_argument(name, raw, where=f"input {name} of {self._where}")


def _is_object_of(raw: Raw, names: Sequence[str]) -> bool:
    if bytes(memoryview(raw)[:1]) != b"{":
        return False
    return set(msgspec.json.decode(raw, type=dict[str, Raw])) <= set(names)


class _FunctionBody:
    """A function of `NodeContext`."""

    def __init__(self, fn: Callable[..., Any], codec: Codec) -> None:
        self.is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        self._fn = fn
        self._input = codec.typed(input_type(fn)).plain
        self.returns = return_type(signed(fn))

    def __call__(self, call: NodeCall) -> Any:
        return self._async(call) if self.is_async else self._sync(call)

    async def _async(self, call: NodeCall) -> Any:
        ctx = self.context(call)
        return Reply(await self._fn(ctx), ctx.writes)

    def _sync(self, call: NodeCall) -> Any:
        ctx = self.context(call)
        return Reply(self._fn(ctx), ctx.writes)

    def context(self, call: NodeCall) -> NodeContext[Any]:
        """The context with the input decoded."""
        return _context(call, self._input)

    def run(self, ctx: NodeContext[Any]) -> Any:
        """The function's own result, or an awaitable of it."""
        return self._fn(ctx)


class _ClassBody:
    """A class: `prep`, then `exec`, then `post`, at every attempt. At the last one `fallback` may stand in for `exec`,
    and `recover` cleans up after an error, whether or not that was cured."""

    def __init__(self, node: Node, kind: type[Any], codec: Codec) -> None:
        self._kind = kind
        self._input = codec.typed(class_input_type(kind)).plain
        self._attempts = node.config.attempts
        self._node = node
        phases = {name: getattr(kind, name, None) for name in ("prep", "exec", "fallback", "post", "recover")}
        self.is_async = inspect.iscoroutinefunction(phases["exec"])
        if not self.is_async:
            wrong = [name for name, phase in phases.items() if inspect.iscoroutinefunction(phase)]
            if wrong:
                raise DefinitionError(
                    f"node class {kind.__qualname__}: exec is a plain function, so it runs in a thread; "
                    f"{wrong[0]} must be one, too"
                )

    def __call__(self, call: NodeCall) -> Any:
        ctx = self.context(call)
        return self.run_async(ctx) if self.is_async else self.run_sync(ctx)

    def context(self, call: NodeCall) -> NodeContext[Any]:
        """The context with the input decoded."""
        return _context(call, self._input)

    async def run_async(self, ctx: NodeContext[Any]) -> Any:
        """All phases of one attempt."""
        phases = self._phases(ctx)
        step = next(phases)
        try:
            while True:
                call, args = step
                try:
                    value = call(*args)
                    if inspect.isawaitable(value):
                        value = await value
                except (asyncio.CancelledError, Exception) as error:
                    step = phases.throw(error)
                else:
                    step = phases.send(value)
        except StopIteration as end:
            return end.value

    def run_sync(self, ctx: NodeContext[Any]) -> Any:
        """The same, in a thread."""
        phases = self._phases(ctx)
        step = next(phases)
        try:
            while True:
                call, args = step
                try:
                    value = call(*args)
                except Exception as error:
                    step = phases.throw(error)
                else:
                    step = phases.send(value)
        except StopIteration as end:
            return end.value

    def _phases(self, ctx: NodeContext[Any]) -> Any:
        """The order of the phases; who drives it calls them, in its own way."""
        node = _instance(self._kind, self._node)
        seen: BaseException | None = None
        try:
            prepared = ctx.input
            if hasattr(node, "prep"):
                prepared = yield node.prep, (ctx,)
            try:
                result = yield node.exec, (prepared, ctx)
            except Exception as error:
                seen = error
                if not hasattr(node, "fallback") or not self._is_last(error):
                    raise
                result = yield node.fallback, (error, ctx)
            if hasattr(node, "post"):
                result = yield node.post, (result, ctx)
            return Reply(result, ctx.writes)
        except Exception as error:
            seen = error
            raise
        finally:
            if seen is not None and hasattr(node, "recover"):
                try:
                    yield node.recover, (seen, ctx)
                except Exception:
                    ctx.log.warning("recover of node %s failed", ctx.id, exc_info=True)

    def _is_last(self, error: BaseException) -> bool:
        return current_step().attempt >= self._attempts and not _is_fatal(error)


class _Surrounded:
    """A body inside of middleware."""

    is_async = True

    def __init__(self, body: Any, middleware: Sequence[Middleware]) -> None:
        self._body = body
        self._middleware = middleware

    async def __call__(self, call: NodeCall) -> Any:
        body = self._body
        ctx = (
            body.context(call)
            if isinstance(body, _FunctionBody | _ClassBody)
            else NodeContext(call, None if call.raw is None else call.input)
        )

        def core() -> Coroutine[Any, Any, NodeResult]:
            return self._core(ctx, call)

        run = core
        for layer in reversed(self._middleware):
            run = _layer(layer, ctx, run)
        result = await run()
        return Reply(result, ctx.writes)

    async def _core(self, ctx: NodeContext[Any], call: NodeCall) -> NodeResult:
        result: NodeResult | None = None
        error: BaseException | None = None
        try:
            for layer in self._middleware:
                await layer.before_node(ctx)
            result = await self._run(ctx, call)
        except BaseException as failure:
            error = failure
            raise
        finally:
            for layer in self._middleware:
                await layer.after_node(ctx, result, error)
        return result

    async def _run(self, ctx: NodeContext[Any], call: NodeCall) -> NodeResult:
        body = self._body
        value: Any
        if isinstance(body, _ClassBody):
            value = await body.run_async(ctx) if body.is_async else await asyncio.to_thread(body.run_sync, ctx)
        elif isinstance(body, _FunctionBody):
            value = await _ran(body.run, ctx, is_async=body.is_async)
        else:
            value = await _ran(body, call, is_async=body.is_async)
        if isinstance(value, Reply):
            value = value.result
        return value if isinstance(value, NodeResult) else NodeResult(output=value)


async def _ran(fn: Callable[[Any], Any], argument: Any, *, is_async: bool) -> Any:
    if is_async:
        return await cast("Awaitable[Any]", fn(argument))
    return await asyncio.to_thread(fn, argument)


def _layer(
    layer: Middleware, ctx: NodeContext[Any], run: Callable[[], Coroutine[Any, Any, NodeResult]]
) -> Callable[[], Coroutine[Any, Any, NodeResult]]:
    async def around() -> NodeResult:
        result = await layer.around_node(ctx, run)
        if not isinstance(result, NodeResult):
            raise DefinitionError(
                f"{type(layer).__name__}.around_node gave {result!r:.100}; return a NodeResult, such as `await next()`"
            )
        return result

    return around


def _instance(kind: type[Any], node: Node) -> Any:
    """Flowcraft's classes take their settings and the node's id; ours need not."""
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return kind()
    return kind(node.params, node.id) if len(parameters) >= 2 else kind(node.params) if parameters else kind()


def _context(call: NodeCall, input: Typed[Any]) -> NodeContext[Any]:
    raw = call.raw
    return NodeContext(call, None if raw is None else input.decode(raw, where=f"the input of node {call.node.id!r}"))


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, FatalError)
