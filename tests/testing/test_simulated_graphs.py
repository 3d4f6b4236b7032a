"""Random blueprints in the simulator: what runs must give is told by the evaluator, and by who answered what, when."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, Raw

from stepwell.model.entries import Ended, Entry, Received, StepCompleted, TimerFired
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId, MessageId
from stepwell.model.messages import HookCompleted, Message, Signal
from stepwell.testing.blueprints.documents import Vertex
from stepwell.testing.simulator.answers import Given
from stepwell.testing.simulator.files import flaw_of
from stepwell.testing.simulator.flowing import expected, unasked, wrong_answers, wrong_end, wrong_steps
from stepwell.testing.simulator.graphs import WORKER, blueprint_of, case_of, plan_in
from stepwell.testing.simulator.oracle import fits, may_raise, may_return
from stepwell.testing.simulator.plans import GRAPH, Do, Graph, Plan
from stepwell.testing.simulator.reports import report
from stepwell.testing.simulator.scenarios import (
    ANSWERS,
    Action,
    RunScript,
    Scenario,
    Settings,
    plain_scenario,
    random_scenario,
)
from stepwell.testing.simulator.shrinking import shrink
from stepwell.testing.simulator.simulation import simulate
from stepwell.testing.simulator.witness import Violation

QUIET = Settings(workers=1)


def is_simple(plan: Graph) -> bool:
    found = unasked(plan)
    return found is not None and case_of(plan).is_exact and found.status == "completed" and len(found.steps) > 1


def waits_once(plan: Graph) -> bool:
    """Whether the last node waits without a time limit: its output is the result."""
    case = case_of(plan)
    nodes = case.document["nodes"]
    if "output" in case.document["metadata"]:
        return False
    return isinstance(nodes, list) and len(nodes) == 1 and nodes[0]["uses"] == "wait" and not nodes[0].get("params")


SIMPLE = next(plan for plan in (Graph(seed, 4) for seed in range(1000)) if is_simple(plan))
FAILING = next(
    plan
    for plan in (Graph(seed, 4) for seed in range(1000))
    if case_of(plan).is_exact and (found := unasked(plan)) is not None and found.status == "failed"
)
WAITING = next(plan for plan in (Graph(seed, 1) for seed in range(1000)) if waits_once(plan))
WAIT = next(iter(case_of(WAITING).document["nodes"]))["id"]


def played(plan: Plan, *actions: Action, workflow: str = GRAPH) -> Scenario:
    return Scenario(seed=1, settings=QUIET, runs=(RunScript("r0", 0, plan, actions, workflow),))


def encoded(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def received(message: Message) -> Received:
    return Received(no=1, id=MessageId("m"), at=0, message=message)


def answered(visit: str, output: object) -> Received:
    return received(HookCompleted(base=1, command=CommandId(visit), value=encoded({"output": output})))


# --- scenarios


def test_some_scenarios_have_blueprints_and_the_others_stay_what_they_were() -> None:
    with_graphs = [seed for seed in range(200) if b'"graph"' in msgspec.json.encode(random_scenario(seed))]

    assert 30 < len(with_graphs) < 90
    for seed in range(200):
        is_away = b'"away"' in msgspec.json.encode(random_scenario(seed))
        assert seed in with_graphs or is_away or random_scenario(seed) == plain_scenario(seed)


def test_a_plan_is_the_same_blueprint_everywhere_and_the_run_is_pinned_to_it() -> None:
    verdict = simulate(played(SIMPLE))
    created = verdict.journals[next(iter(verdict.journals))].created

    assert plan_in(created) == SIMPLE
    assert blueprint_of(SIMPLE).id == WORKER.id == created.workflow


def test_time_and_kills_are_left_out_without_changing_the_blueprint() -> None:
    def shape(plan: Graph) -> list[tuple[str, str]]:
        nodes = case_of(plan).document["nodes"]
        return [(node["id"], node["uses"]) for node in (nodes.values() if isinstance(nodes, dict) else nodes)]

    assert shape(Graph(7, 20)) == shape(Graph(7, 20, slow=True, kills=True))


def test_what_cannot_be_carried_out_is_refused() -> None:
    assert 'is no "graph"' in flaw_of(played(Do("a")))
    assert "a graph without nodes" in flaw_of(played(Graph(1, 0)))
    assert not flaw_of(played(SIMPLE, workflow="play"))


def test_blueprints_shrink() -> None:
    found = Violation(7, "r0", "wrong")
    smallest = shrink(played(Graph(7, 20, slow=True, kills=True)), found, judge=lambda _: found)

    assert smallest.runs[0].plan == Graph(7, 1)


def test_a_report_tells_the_blueprint() -> None:
    verdict = simulate(played(WAITING))
    verdict.violation = Violation(7, "r0", "wrong")
    lines = [line.strip() for line in report(verdict)]
    told = lines[lines.index("the blueprint of r0:") :]

    assert f"{WAIT}: wait" in told
    assert any(line.startswith(f"answers to graph/{WAIT}: [") for line in told)


# --- runs


@pytest.mark.parametrize("workflow", [GRAPH, "play"])
def test_without_faults_each_node_is_executed_once(workflow: str) -> None:
    verdict = simulate(played(SIMPLE, workflow=workflow))

    assert verdict.violation is None
    assert verdict.steps == len(expected(SIMPLE, []).steps)


@pytest.mark.parametrize("how", sorted(set(ANSWERS)))
def test_a_wait_is_answered_once(how: str) -> None:
    actions = [Action(at, "answer", how) for at in (100, 100, 5_000)]
    verdict = simulate(played(WAITING, *actions))
    (journal,) = verdict.journals.values()
    answers = [entry for frame in journal.frames for entry in frame.entries if isinstance(entry, Received)]

    assert verdict.violation is None
    assert len(answers) == 1


def test_whoever_waits_is_answered_in_the_end() -> None:
    verdict = simulate(played(WAITING))

    assert verdict.violation is None


# --- the oracle


def test_the_value_of_a_child_is_what_the_evaluator_says() -> None:
    value = expected(SIMPLE, []).value

    assert fits(SIMPLE, ["graph", value])
    assert not fits(SIMPLE, ["graph", [value]])
    assert not may_raise(SIMPLE)
    assert may_raise(FAILING)
    assert not may_return(FAILING)
    assert fits(WAITING, ["graph", "anything"])


def test_another_end_than_the_evaluators_is_wrong() -> None:
    value = expected(SIMPLE, []).value
    failure = Failure(types=("E",), message="node 'x': no")

    assert not [*wrong_end(SIMPLE, [], Ended(status="completed", value=encoded(value)))]
    assert [*wrong_end(SIMPLE, [], Ended(status="completed", value=encoded([value])))]
    assert [*wrong_end(SIMPLE, [], Ended(status="failed", failure=failure))]
    assert [*wrong_end(FAILING, [], Ended(status="failed", failure=failure))]


def test_a_run_gives_what_was_answered() -> None:
    entries: list[Entry] = [answered(WAIT, "mine"), answered(WAIT, "late")]

    assert not [*wrong_end(WAITING, entries[:1], Ended(status="completed", value=encoded("mine")))]
    assert [*wrong_end(WAITING, entries[:1], Ended(status="completed", value=encoded("late")))]
    assert [*wrong_answers(entries)] == [f"wait {WAIT} was answered a second time"]


def test_a_step_that_no_evaluation_takes_is_wrong() -> None:
    steps = [StepCompleted(id=CommandId(step), value=encoded({})) for step in expected(SIMPLE, []).steps]

    assert not [*wrong_steps(SIMPLE, steps)]
    assert [*wrong_steps(SIMPLE, [*steps, StepCompleted(id=CommandId("none"), value=encoded({}))])]


def test_what_came_first_counts_and_signals_are_taken_in_order() -> None:
    timer = TimerFired(n=1, due=0, name="b")
    signals = [received(Signal(name="s", value=encoded(number))) for number in (1, 2)]
    given = Given([answered("a", 5), timer, answered("b", 6), *signals])
    plain, listening = Vertex("a", "wait", {}, None, {}), Vertex("c", "wait", {"signal": "s"}, None, {})

    assert given("a", plain) == {"output": 5}
    assert given("b", plain) == "timeout"
    assert [given(f"c:{n}", listening) for n in range(3)] == [{"signal": 1}, {"signal": 2}, UNSET]
    assert given("d", plain) is UNSET
