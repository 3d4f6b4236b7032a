"""What the built-in nodes do when they are visited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from stepwell.engine.graph import loops
from stepwell.engine.graph.data import encoded, found
from stepwell.engine.graph.plan import Kind
from stepwell.engine.graph.results import space_result
from stepwell.engine.graph.routing import RoutingError, evaluated
from stepwell.engine.graph.visits import BatchRun, Scope, Space, Visit
from stepwell.engine.mailbox import Address
from stepwell.errors import BlueprintError, FatalError, RunError, StepwellError, type_name
from stepwell.model.blueprint_rules import milliseconds
from stepwell.model.entries import Received
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId
from stepwell.model.messages import ChildEnded, HookCompleted
from stepwell.model.tokens import make_token

if TYPE_CHECKING:
    from stepwell.engine.graph.machine import Machine

MAX_DEPTH = 50


class NodeError(StepwellError):
    """A built-in node cannot do what it is asked to."""


# --- data


def _pass(machine: Machine, visit: Visit) -> None:
    machine.finish(visit, visit.input or NULL)


def _set(machine: Machine, visit: Visit) -> None:
    space = visit.scope.space
    values: dict[str, Raw] = {}
    seen: dict[str, Any] = {}
    given = msgspec.json.decode(NULL if visit.input is None else visit.input)
    try:
        for key, expression in visit.node.values:
            what = f"value {key!r} of {visit.id!r}"
            values[key] = encoded(evaluated(expression, space, what, **{**seen, "input": given}))
            seen[key] = msgspec.json.decode(values[key])
    except RoutingError as error:
        machine.fail_with(visit, error)
        return
    for key, raw in values.items():
        space.write(key, raw)
    _wrote(machine, visit, values)
    machine.finish(visit, Raw(msgspec.json.encode(values)))


def _wrote(machine: Machine, visit: Visit, keys: Iterable[str]) -> None:
    """Tell who watches of keys of the state."""
    if machine.watch is not None:
        for key in keys:
            machine.watch("context:change", {"sourceNode": visit.node.id, "key": key, "op": "set"})


def _error(machine: Machine, visit: Visit) -> None:
    """Fails with a message; with `types` as well, as what it was before: its input may be a `_catch_error`."""
    given: Any = visit.node.node.params
    if given.get("message") is None:
        given = msgspec.json.decode(visit.input or NULL)
    types: Any = None
    if isinstance(given, dict) and isinstance(given.get("message"), str):
        given, types = given["message"], given.get("types")
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    failure = machine.program.host.failure_of(NodeError(text))
    if isinstance(types, list) and all(isinstance(name, str) for name in types):
        failure = msgspec.structs.replace(failure, types=tuple(types))
    machine.fail(visit, failure)


# --- waiting


def _sleep(machine: Machine, visit: Visit) -> None:
    visit.status = "waiting"
    machine.program.set_timer(visit, milliseconds(visit.node.node.params["duration"]))


def _wait(machine: Machine, visit: Visit) -> None:
    params = visit.node.node.params
    program = machine.program
    addresses = [Address("token", visit.id)]
    if isinstance(signal := params.get("signal"), str):
        addresses.append(Address("signal", signal))
    if (hook := _hook_before(visit, params.get("eventName"))) is not None:
        addresses.append(Address("token", hook))
    elif isinstance(event := params.get("eventName"), str):
        addresses += [Address("event", event), Address("signal", event)]
        program.subscribe(event)
    received = program.inbox.listen(visit, addresses)
    if received is not None:
        answered(machine, visit, received)
        return
    visit.status = "waiting"
    if params.get("timeout") is not None:
        program.set_timer(visit, milliseconds(params["timeout"]))


def answered(machine: Machine, visit: Visit, received: Received) -> None:
    """A waiting visit gets its message. One that is addressed to it alone holds `action` and `output`; of others, the
    value is the output, and its field `action` says where to go on."""
    machine.program.drop_timer(visit)
    message = received.message
    raw = machine.program.host.plain(getattr(message, "value", NULL))
    value = msgspec.json.decode(raw)
    action = value.get("action") if isinstance(value, dict) else None
    if isinstance(message, HookCompleted) and message.command == visit.id:
        output = value.get("output") if isinstance(value, dict) else value
        raw = Raw(msgspec.json.encode(output))
    machine.finish(visit, raw, action if isinstance(action, str) and action else None)


def timed_out(machine: Machine, visit: Visit) -> None:
    """The timer of a sleep or a wait fired."""
    if visit.node.kind is Kind.SLEEP:
        machine.finish(visit, visit.input or NULL)
        return
    machine.program.inbox.withdraw(visit)
    if any(edge.action == "timeout" for edge in visit.node.out):
        machine.finish(visit, NULL, "timeout")
    else:
        machine.fail_with(visit, TimeoutError(f"nothing came for {visit.id!r} in time"))


def _hook_before(visit: Visit, name: Any) -> CommandId | None:
    """The webhook whose calls a wait takes: the one that it names, or else the one right before it."""
    space = visit.scope.space
    if isinstance(name, str) and name.startswith("webhook:"):
        hook = space.latest.get(name[8:])
    elif name is None:
        sources = [edge.source for edge in visit.node.ins if edge.source.kind is Kind.WEBHOOK]
        hook = space.latest.get(sources[-1].id) if sources else None
    else:
        hook = None
    return None if hook is None else hook.id


def _webhook(machine: Machine, visit: Visit) -> None:
    origin = machine.program.origin
    token = make_token(origin.run, origin.base, visit.id, origin.seed)
    url = machine.program.host.hook_url(token)
    output = {"url": url, "token": token, "event": f"webhook:{visit.node.id}"}
    machine.finish(visit, Raw(msgspec.json.encode(output)))


# --- subflows and children


def _subflow(machine: Machine, visit: Visit) -> None:
    space, params = visit.scope.space, visit.node.node.params
    name = params.get("blueprintId")
    plan = space.plan.plans.get(name)  # type: ignore[arg-type]
    if plan is None or space.depth >= MAX_DEPTH:
        why = "there is no such blueprint" if plan is None else f"subflows are nested deeper than {MAX_DEPTH}"
        machine.fail_with(visit, BlueprintError(f"subflow {visit.id!r} of blueprint {name!r}: {why}"))
        return
    inner = visit.inner = Scope(Space(plan, f"{visit.id}/", visit), plan.root)
    inputs = params.get("inputs")
    if isinstance(inputs, dict):
        for key, source in inputs.items():
            if (value := found(space, source)) is not None:
                inner.space.state[key] = value
        machine.start_nodes(inner, None)
    else:
        machine.start(inner, visit.input or NULL)


def subflow_over(machine: Machine, space: Space) -> None:
    """Nothing is active in a subflow."""
    visit = space.owner
    assert visit is not None, "it is not the root"
    if space.failures:
        _, first = min(space.failures, key=lambda item: item[0])
        assert first.error is not None, "it failed"
        machine.fail(visit, named(first, first.error))
        return
    outputs = visit.node.node.params.get("outputs")
    if not isinstance(outputs, dict):
        machine.finish(visit, space_result(space))
        return
    values = {key: found(space, name) or NULL for key, name in outputs.items()}
    for key, value in values.items():
        visit.scope.space.write(key, value)
    _wrote(machine, visit, values)
    machine.finish(visit, Raw(msgspec.json.encode(values)))


def named(visit: Visit, failure: Failure) -> Failure:
    """A node's failure as its run's. What failed inside a subflow is named already."""
    if visit.inner is not None and visit.inner.space.failures:
        return failure
    return msgspec.structs.replace(failure, message=f"node {visit.id!r}: {failure.message}")


def child_ended(machine: Machine, visit: Visit, message: ChildEnded) -> None:
    """A node that is a workflow has its result."""
    machine.program.drop_timer(visit)
    if message.status == "completed":
        machine.running -= 1
        machine.finish(visit, machine.program.host.plain(message.value))
        machine.settle()
        return
    failure = message.failure or Failure(types=(f"stepwell.{message.status}",))
    text = f"child run {message.child} {message.status}: {failure.opened()}"
    # What was fatal to the child ended the child: here a fallback may take over.
    fatal, failed = type_name(FatalError), type_name(RunError)
    types = tuple(failed if name == fatal else name for name in failure.types)
    machine.work_failed(visit, msgspec.structs.replace(failure, types=types, message=text))


# --- batches


def _scatter(machine: Machine, visit: Visit) -> None:
    try:
        items = msgspec.json.decode(visit.input or NULL, type=list[Raw] | None)
    except msgspec.ValidationError:
        machine.fail_with(visit, NodeError(f"batch {visit.id!r}: its input is not an array: {_shown(visit.input)}"))
        return
    params, most = visit.node.node.params, visit.scope.space.plan.concurrency
    limit = min(int(params.get("concurrency") or most), most)
    batch = visit.batch = BatchRun(items or [], limit)
    chunk = params.get("chunkSize")
    if chunk:
        batch.until = min(int(chunk), len(batch.items))
    if machine.watch is not None:
        machine.watch(
            "batch:start", {"batchId": _stem(visit.node.id), "scatterNodeId": visit.node.id, "size": batch.until}
        )
    _more(machine, visit, batch)


def _more(machine: Machine, visit: Visit, batch: BatchRun) -> None:
    """Begin as many items as there is room for. Ends the batch if there are none left."""
    stem = _stem(visit.id)
    worker = visit.node.worker
    assert worker is not None, "a batch has one"
    while batch.first < batch.until and len(batch.open) < batch.limit:
        index = batch.first
        item = Visit(CommandId(f"{stem}[{index}]"), worker, visit.scope, batch.items[index], machine.program.now_ms)
        item.parent, item.index = visit, index
        batch.items[index] = NULL
        batch.first += 1
        batch.open[index] = item
        machine.visits[item.id] = item
        if machine.watch is not None:
            machine.watch("node:start", {"nodeId": item.id, "visit": item.id, "input": item.input})
        machine.issue(item)
    if not batch.open and batch.first == len(batch.results):
        _batch_over(machine, visit, batch)


def item_ended(machine: Machine, item: Visit) -> None:
    """An item has its result, or has failed for good."""
    visit = item.parent
    assert visit is not None, "an item of a batch"
    assert visit.batch is not None, "it has begun"
    batch = visit.batch
    batch.open.pop(item.index, None)
    if visit.status != "running":
        return
    is_settled = bool(visit.node.node.params.get("settle"))
    if item.error is None:
        output = item.output or NULL
        batch.results[item.index] = Raw(msgspec.json.encode({"value": output})) if is_settled else output
    elif is_settled:
        error = {"message": item.error.message, "type": item.error.type}
        batch.results[item.index] = Raw(msgspec.json.encode({"error": error}))
    else:
        for other in [*batch.open.values()]:
            machine.program.stop_work(other)
        batch.open.clear()
        why = f"item {item.index} of batch {_stem(visit.id)!r}: {item.error.message}"
        machine.fail(visit, msgspec.structs.replace(item.error, message=why))
        return
    if not batch.open and batch.first == batch.until:
        chunk = visit.node.node.params.get("chunkSize")
        batch.until = min(batch.until + int(chunk or 0), len(batch.results))
    _more(machine, visit, batch)


def _batch_over(machine: Machine, visit: Visit, batch: BatchRun) -> None:
    gather = visit.node.node.params.get("gatherNodeId")
    results = [raw or NULL for raw in batch.results]
    visit.scope.space.batches[str(gather)] = results
    batch.results = []
    output = {"gatherNodeId": gather, "hasMore": False}
    machine.finish(visit, Raw(msgspec.json.encode(output)))


def _gather(machine: Machine, visit: Visit) -> None:
    space = visit.scope.space
    results = space.batches.pop(visit.node.id, None)
    output = visit.input or NULL if results is None else Raw(msgspec.json.encode(results))
    key = visit.node.node.params.get("outputKey")
    key = key if isinstance(key, str) and key else visit.node.id
    space.write(key, output)
    _wrote(machine, visit, [key])
    if machine.watch is not None:
        machine.watch("batch:finish", {"batchId": visit.node.id.removesuffix("_gather"), "gatherNodeId": visit.node.id})
    machine.finish(visit, output)


def _stem(id: str) -> str:
    """The batch's name in the ids of its items: that of the scatter node without its ending."""
    node, colon, count = id.rpartition(":")
    if not colon or not count.isdecimal():
        return id.removesuffix("_scatter")
    return f"{node.removesuffix('_scatter')}:{count}"


def _shown(raw: Raw | None) -> str:
    text = bytes(raw or NULL).decode()
    return text if len(text) <= 80 else f"{text[:80]}..."


DO: Mapping[Kind, Callable[[Machine, Visit], None]] = {
    Kind.PASS: _pass,
    Kind.SET: _set,
    Kind.ERROR: _error,
    Kind.WAIT: _wait,
    Kind.SLEEP: _sleep,
    Kind.WEBHOOK: _webhook,
    Kind.SUBFLOW: _subflow,
    Kind.SCATTER: _scatter,
    Kind.GATHER: _gather,
    Kind.LOOP: loops.start,
}
"""What each kind of node does when it is visited."""
