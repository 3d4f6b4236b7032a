"""What runs of blueprints must give: what the evaluator says, if waits are answered as the journal says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from stepwell.engine.graph.state import GraphState
from stepwell.model.entries import AttemptFailed, Ended, Entry, StepCompleted, StepFailed
from stepwell.testing.blueprints.evaluator import CODES, Evaluation, evaluate
from stepwell.testing.blueprints.sheets import Case
from stepwell.testing.simulator.answers import Given
from stepwell.testing.simulator.graphs import FUNCTIONS, HIDDEN, case_of
from stepwell.testing.simulator.plans import Graph

Json = Any

_UNTOLD = {"batch-scatter", "BatchScatterNode", "loop-controller"}
_OVER = {"completed", "recovered"}
_ENDED = {*_OVER, "failed", "cancelled"}


def expected(plan: Graph, entries: Sequence[Entry]) -> Evaluation:
    """What a run gives whose journal holds these entries."""
    return _evaluated(case_of(plan), Given(entries))


@lru_cache(512)
def unasked(plan: Graph) -> Evaluation | None:
    """What any run of the plan gives; None: that depends on how its waits are answered, or on time."""
    case = case_of(plan)
    return None if case.script else _evaluated(case, Given(()))


def _evaluated(case: Case, given: Given) -> Evaluation:
    return evaluate(
        case.document, case.input, blueprints=case.blueprints, script=case.script, functions=FUNCTIONS, given=given
    )


def may_fail(plan: Graph) -> bool:
    """Whether a run of the plan can fail."""
    found = unasked(plan)
    return found is None or found.status == "failed"


def may_complete(plan: Graph) -> bool:
    """Whether a run of the plan can come to a value."""
    found = unasked(plan)
    return found is None or found.status == "completed"


def fits_graph(plan: Graph, value: Json) -> bool:
    """Whether a run of the plan can answer this."""
    found = unasked(plan)
    if found is None or not case_of(plan).is_exact:
        return True
    return found.status == "completed" and found.value == value


def wrong_end(plan: Graph, entries: Sequence[Entry], ended: Ended) -> Iterator[str]:
    """What is wrong about the end of a run that completed or failed."""
    found, case = expected(plan, entries), case_of(plan)
    if found.status != ended.status:
        yield f"{ended.status} ({ended.failure}), but evaluated it {found.status}: {found.failures}"
    elif not case.is_exact:
        return
    elif ended.status == "completed":
        value = msgspec.json.decode(bytes(ended.value))
        if value != found.value:
            yield f"completed with {value}, evaluated it gives {found.value}"
    else:
        failed = sorted(visit for visit, state in found.visits.items() if state == "failed")
        message = "" if ended.failure is None else ended.failure.message
        if not any(message.startswith(f"node {visit!r}: ") for visit in failed):
            yield f"failed by {message}, evaluated by one of {failed}"


def wrong_answers(entries: Iterable[Entry]) -> Iterator[str]:
    """Visits that were answered more than once."""
    for visit in Given(entries).repeated:
        yield f"wait {visit} was answered a second time"


def wrong_nodes(plan: Graph, entries: Sequence[Entry], state: GraphState) -> Iterator[str]:
    """What is wrong about where the nodes of a run stand at its end."""
    case = case_of(plan)
    if not case.is_exact:
        return
    found = expected(plan, entries)
    nodes = case.document["nodes"]
    uses = {node["id"]: node["uses"] for node in (nodes.values() if isinstance(nodes, dict) else nodes)}
    for id, status in found.states.items():
        progress = state.nodes[id.translate(CODES)]
        if uses.get(id) == "loop-controller" or (status == "skipped" and id in found.inputs):
            continue  # skipped in the last iteration; the state shows the last visit
        if progress.status != status:
            yield f"node {id} is {progress.status}, evaluated {status}"
        elif status in _OVER and uses.get(id) not in _UNTOLD and progress.output != found.outputs[id]:
            yield f"node {id} gave {progress.output}, evaluated {found.outputs[id]}"
    written = {key: value for key, value in state.state.items() if not key.startswith(HIDDEN)}
    if written != found.state:
        yield f"its state is {written}, evaluated {found.state}"


def wrong_steps(plan: Graph, entries: Sequence[Entry]) -> Iterator[str]:
    """Steps that no evaluation takes."""
    case = case_of(plan)
    executed = {entry.id for entry in entries if isinstance(entry, StepCompleted | StepFailed | AttemptFailed)}
    extra = executed - expected(plan, entries).steps if case.is_exact else set()
    loose = [stem.translate(CODES) for stem in case.loose]
    for step in sorted(extra):
        if not any(f"{stem}[" in step or f"{stem}:" in step for stem in loose):
            yield f"step {step} was executed, evaluated there is none"


def wrong_course(states: Sequence[GraphState]) -> Iterator[str]:
    """Visits that had ended, and are open again later."""
    before: Mapping[str, Any] = {}
    for state in states:
        for id, node in state.nodes.items():
            was = before.get(id)
            if was is None or was.visit != node.visit or was.status == node.status:
                continue
            if was.status in _ENDED and (was.status, node.status) != ("failed", "recovered"):
                yield f"node {id} is {node.status} at frame {state.seq}, and was {was.status} before"
        before = state.nodes
