"""Runs flows in two ways: the function as it is, and its document on the graph program."""

from __future__ import annotations

import asyncio
import inspect
import linecache
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell import Flow
from stepwell.authoring.flows import CompiledFlow, compile_flow
from stepwell.codec.failures import failure_of
from stepwell.engine.graph.lint import lint
from stepwell.engine.graph.outcome import NodeCall, NodeOutcome
from stepwell.engine.graph.plan import make_plans
from stepwell.engine.graph.program import GraphProgram
from stepwell.engine.program import Abandon, Completed, Failed, Origin, StepCommand
from stepwell.formats.flowcraft import graph_of
from stepwell.formats.schema import blueprint_schema
from stepwell.model.blueprints import Node
from stepwell.model.entries import Created, StepCompleted, StepFailed, TimerFired
from stepwell.model.failures import Failure
from stepwell.model.ids import RunId
from stepwell.model.policies import StepOptions
from tests.blueprints.play import Host
from tests.formats.checking import Checker

Json = Any
SCHEMA = Checker(blueprint_schema())


class Binding:
    """A step as the engine knows it."""

    def __init__(self, node: Node) -> None:
        self.options = StepOptions(name=node.id)

    def decode_result(self, raw: Raw) -> NodeOutcome:
        return NodeOutcome(output=raw)

    def isolate_args(self, args: Any, kwargs: Any) -> Any:
        return args, kwargs, 0


class Ended(msgspec.Struct, frozen=True):
    """How a run ended: a value, or the class and text of what failed. `steps` are the ids of the steps that ran."""

    value: Json = None
    failure: tuple[str, str] | None = None
    steps: tuple[str, ...] = ()


def plain(value: Any) -> Json:
    """A value as JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def run_plainly(fn: Callable[..., Any], *args: Any) -> Ended:
    """The function as it is."""
    try:
        return Ended(plain(asyncio.run(fn(*args))))
    except Exception as error:
        return Ended(failure=(type(error).__name__, str(error)))


def all_flows(compiled: CompiledFlow) -> dict[str, Flow[Any, Any]]:
    """The flows that this one runs, at any depth."""
    found: dict[str, Flow[Any, Any]] = {}
    todo = list(compiled.flows.values())
    while todo:
        flow = todo.pop()
        if flow.id not in found:
            found[flow.id] = flow
            todo += flow.subflows.values()
    return found


def run_document(compiled: CompiledFlow, input: Any = None) -> Ended:
    """The document, on the graph program; steps end in the order in which they were begun."""
    flows = all_flows(compiled)
    steps = {**compiled.implementations}
    for flow in flows.values():
        steps.update(flow.implementations)
    others = [graph_of(flow.document) for flow in flows.values()]
    plan = make_plans(graph_of(compiled.document), others, lambda node: Binding(node) if node.uses in steps else None)
    payload = Raw(msgspec.json.encode(input))
    created = Created(workflow=compiled.document["id"], input=payload, seed="00" * 16)
    origin = Origin(
        run=RunId("run"),
        base=1,
        created=created,
        input=payload,
        seed=created.seed,
        started_at=0,
        born_at=0,
        random_base=1,
    )
    program = GraphProgram(plan, origin, Host())
    program.begin([], at=0, is_repeat=False)
    return _drive(program, steps)


def _drive(program: GraphProgram, steps: dict[str, Any]) -> Ended:
    ran: list[str] = []
    pending: dict[str, StepCommand] = {}
    now = 0
    while program.outcome is None:
        for command in program.take_commands():
            if isinstance(command, StepCommand):
                pending[command.id] = command
            elif isinstance(command, Abandon):
                pending.pop(command.id, None)
        if program.outcome is not None:
            break
        if pending:
            command = pending.pop(next(iter(pending)))
            ran.append(command.id)
            program.apply(_outcome(command, steps), now)
            continue
        due = program.next_due()
        assert due is not None, f"nothing moves: {program.stuck_at()}"
        now = max(now, due)
        n, when, name = program.due_timers(now)[0]
        program.apply(TimerFired(n=n, due=when, name=name), now)
    return _ended(program, tuple(ran))


def _outcome(command: StepCommand, steps: dict[str, Any]) -> StepCompleted | StepFailed:
    call: NodeCall = command.args[0]
    step = steps[call.node.uses]
    names = list(step.signature.parameters)
    value = call.input
    inputs = call.node.inputs
    by_name = isinstance(inputs, dict) or (inputs is None and len(names) > 1)
    args = (value,) if names and value is not UNSET and not by_name else ()
    try:
        result = step.__wrapped__(*plain(args), **(plain(value) if by_name else {}))
        if inspect.isawaitable(result):
            result = asyncio.run(result)  # type: ignore[arg-type]
    except Exception as error:
        return StepFailed(id=command.id, failure=failure_of(error))
    return StepCompleted(id=command.id, value=Raw(msgspec.json.encode(result)))


def _ended(program: GraphProgram, steps: tuple[str, ...]) -> Ended:
    outcome = program.outcome
    if isinstance(outcome, Completed):
        return Ended(msgspec.json.decode(outcome.value), steps=steps)
    assert isinstance(outcome, Failed), f"it ended with {outcome}"
    failure: Failure = outcome.failure
    return Ended(failure=(failure.type, failure.message), steps=steps)


_count = 0


def function_of(text: str, names: dict[str, Any], name: str = "flow") -> Callable[..., Any]:
    """A function made of text, whose source can be found."""
    global _count
    _count += 1
    file = f"<flow {_count}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space = dict(names)
    exec(compile(text, file, "exec"), space)  # noqa: S102 - the test's own text
    return space[name]  # type: ignore[no-any-return]


def same(fn: Callable[..., Any], *inputs: Any) -> Ended:
    """Check that a function and its document do the same for each input. How the last one ended."""
    compiled = compile_flow(fn)
    findings = lint(
        graph_of(compiled.document), implementations=set(compiled.implementations), blueprints=set(compiled.flows)
    )
    assert [str(finding) for finding in findings if finding.severity == "error"] == []
    assert SCHEMA.accepts(compiled.document)
    done = Ended()
    for input in inputs or (None,):
        expected = run_plainly(fn, *([input] if compiled.has_input else []))
        done = run_document(compiled, plain(input))
        assert agree(expected, done), f"{input!r}: the function gives {expected}, its document {done}"
    return done


def agree(expected: Ended, done: Ended) -> bool:
    """Whether these are the same. What fails in an expression fails with words of its own."""
    if expected.failure is None or done.failure is None:
        return expected.failure == done.failure and expected.value == done.value
    return done.failure[0] == "RoutingError" or (
        expected.failure[0] == done.failure[0] and done.failure[1].endswith(expected.failure[1])
    )
