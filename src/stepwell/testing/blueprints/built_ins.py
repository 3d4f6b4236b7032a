"""The built-in nodes of the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from stepwell.errors import FatalError
from stepwell.testing.blueprints.documents import Vertex
from stepwell.testing.blueprints.values import Failing, Stopped, Unscripted
from stepwell.testing.blueprints.vocabulary import Reply

if TYPE_CHECKING:
    from stepwell.testing.blueprints.evaluator import Flow

Json = Any


def answer_of(script: Mapping[str, list[Json]], blueprint: str, node: str, count: int) -> Json:
    """What a visit of a wait is answered; after the last answer the first follows."""
    answers = script.get(f"{blueprint}/{node}") or script.get(node)
    if not answers:
        raise Unscripted(f"nobody answers {node} of {blueprint}")
    return answers[(count - 1) % len(answers)]


def _pass(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply:
    return Reply(input)


def _error(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Failing:
    return Failing(str(vertex.params.get("message") or input))


def _set(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply:
    values: dict[str, Json] = {}
    for key, text in vertex.params["values"].items():
        value = flow.ask(text, **{**values, "input": input})
        values[key] = None if value is UNSET else value
    flow.state.update(values)
    return Reply(values)


def _wait(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply | Failing:
    answer = UNSET if flow.world.given is None else flow.world.given(visit, vertex)
    if answer is UNSET:
        answer = answer_of(flow.world.script, flow.reading.id, vertex.id, flow.counts[vertex.id])
    if answer == "timeout":
        if any(link.action == "timeout" for link in flow.reading.out_of(vertex.id)):
            return Reply(None, action="timeout")
        return Failing("timeout", "TimeoutError")
    if "signal" in answer:
        value = answer["signal"]
        action = value.get("action") if isinstance(value, dict) else None
        return Reply(value, action=action if isinstance(action, str) else None)
    return Reply(answer.get("output"), action=answer.get("action"))


def _webhook(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply:
    return Reply({"url": "", "token": "", "event": f"webhook:{visit}"})


def _subflow(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply | Failing:
    names = vertex.params.get("inputs")
    state = dict(input) if isinstance(input, dict) else {}
    if names:
        found = {key: flow.lookup(name) for key, name in names.items()}
        input, state = None, {key: value for key, value in found.items() if value is not UNSET}
    child = type(flow)(flow.world, vertex.params["blueprintId"], input, state, f"{visit}/")
    child.run()
    if child.failures:
        return child.failures[0]
    outputs = vertex.params.get("outputs")
    if not outputs:
        return Reply(child.result())
    seen = {key: child.lookup(name) for key, name in outputs.items()}
    values = {key: None if value is UNSET else value for key, value in seen.items()}
    flow.state.update(values)
    return Reply(dict(values))


def _scatter(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply | Failing:
    items = [] if input is None else input
    if not isinstance(items, list):
        return Failing("not an array")
    base = visit.replace("_scatter", "")
    results: list[Json] = []
    for index, item in enumerate(items):
        name = f"{base}[{index}]"
        flow.world.steps.add(name)
        try:
            reply = flow.attempts(vertex.params["workerUsesKey"], vertex, item, {})
        except FatalError as error:
            flow.world.visits[name] = "failed"
            raise Stopped(Failing(str(error), "FatalError", True)) from error
        except Exception as error:
            flow.world.visits[name] = "failed"
            if not vertex.params.get("settle"):
                return Failing(str(error), type(error).__name__)
            results.append({"error": {"message": str(error), "type": type(error).__name__}})
        else:
            flow.world.visits[name] = "completed"
            results.append({"value": reply.output} if vertex.params.get("settle") else reply.output)
    flow.batches[vertex.params["gatherNodeId"]] = results
    return Reply({"gatherNodeId": vertex.params["gatherNodeId"], "hasMore": False})


def _gather(flow: Flow, vertex: Vertex, visit: str, input: Json) -> Reply:
    results = flow.batches.get(vertex.id, [])
    flow.state[vertex.params.get("outputKey") or vertex.id] = results
    return Reply(results)


BUILT_IN: dict[str, Callable[[Flow, Vertex, str, Json], Reply | Failing]] = {
    "start": _pass,
    "join": _pass,
    "sleep": _pass,
    "error": _error,
    "set": _set,
    "wait": _wait,
    "webhook": _webhook,
    "subflow": _subflow,
    "batch-scatter": _scatter,
    "batch-gather": _gather,
}
