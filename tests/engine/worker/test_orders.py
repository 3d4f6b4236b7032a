"""Bodies of random shape, cut into invocations at random: what won once wins again, and no step runs twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any
from unittest import mock
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from tests.engine.machines import OPERATIONS, Machine, Plan, book, leaf, planned, random_plan, unbook, work
from tests.engine.worker.driving import Wire

from stepwell import Context
from stepwell.engine.program import StepCommand
from stepwell.formats.voyant.invocations import Outcome, outcome_bytes
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import Failure

_INVOCATIONS = 400
_ORDERLY = {"seq", "gather", "step", "sleep", "saga", "try", "shield", "map"}


class RandomWire(Wire):
    """A run whose orchestrator and worker do what `choice` says."""

    def __init__(self, plan: Plan, choice: Random, *, fail_rate: float = 0.1) -> None:
        super().__init__(planned, plan, include=[leaf, work, book, unbook])
        self.choice = choice
        self.fail_rate = fail_rate

    def outcome_of(self, command: StepCommand) -> StepCompleted | StepFailed:
        assert command.id not in self.journal.step_results, "it has been run, and that is known"
        return fate(command, self.fail_rate)

    def cancel(self) -> Outcome:
        """The run is cancelled. Workers may die meanwhile."""
        for _ in range(self.choice.randrange(3)):
            with closing(self.begin(cancel="enough")) as session:
                self.keep(self.work(session, at_most=self.choice.randrange(3)))
        return self.invoke(cancel="enough", step_ms=self.choice.choice([0, 7]), choose=self.choice.choice)

    def turn(self) -> None:
        """One invocation, which may die, after some of what it waits for has come."""
        choice = self.choice
        if self.outcome is not None:
            waits = list(self.waits)
            for id in choice.sample(waits, min(len(waits), choice.choice([1, 1, 1, 2, 3]))):
                self.answer(id)
        at_most = choice.choice([0, 1, 2, 3]) if choice.random() < 0.3 else 10**6
        with closing(self.begin()) as session:
            step_ms = choice.choice([0, 1, 3, 40])
            steps = self.work(session, step_ms=step_ms, choose=choice.choice, at_most=at_most)
            if session.is_idle:
                before = [] if self.outcome is None else self.outcome.metadata_updates
                answer = self.finish(session, steps)
                assert answer.metadata_updates[: len(before)] == before, "it went another way than before"
            else:
                self.keep(dict(list(steps.items())[: choice.randint(0, len(steps))]))
        if session.is_idle:
            self.check()

    def answer(self, id: str) -> None:
        """Something that the body waits for."""
        wait, choice = self.waits[id], self.choice
        if wait.kind == "DATETIME":
            self.resolve(id, after_ms=int(wait.timeout_ms or 0))
        elif wait.kind == "RUN":
            self.resolve(id, crc32(id.encode()) % 5, after_ms=1)
        elif choice.random() < 0.5:
            self.resolve(id, 7, after_ms=choice.choice([0, 1]))
        else:
            self.resolve(id, after_ms=int(wait.timeout_ms or 0))

    def check(self) -> None:
        """Whoever invokes the body again with what it answered hears the same, and runs nothing."""
        before, answer = list(self.ran), self.outcome
        with closing(self.begin()) as session:
            assert session.take_steps() == []
            again = self.finish(session, {})
        assert (self.ran, told(again)) == (before, told(answer))

    def play(self) -> Outcome:
        """All invocations, to the end of the run."""
        for _ in range(_INVOCATIONS):
            self.turn()
            if self.outcome is not None and self.outcome.status != "waiting":
                return self.outcome
        raise AssertionError(f"the run has not ended; it waits for {list(self.waits)}")


def fate(command: StepCommand, fail_rate: float) -> StepCompleted | StepFailed:
    """What becomes of a step: given by its id, so that it is the same however often it runs."""
    number = Random(command.id).random()
    if number < fail_rate and command.definition.options.name == "work":
        failure = Failure(types=("builtins.ValueError",), message="no", step=command.id, attempts=1)
        return StepFailed(id=command.id, failure=failure)
    return StepCompleted(id=command.id, value=Raw(str(int(number * 100)).encode()))


def told(outcome: Outcome | None) -> Any:
    """What an answer says, but for times."""
    assert outcome is not None
    plain = msgspec.json.decode(outcome_bytes(outcome))
    for wait in plain.get("waitpoints", ()):
        wait.pop("timeoutMs", None)
    plain["error"] = plain.get("error", {}).get("message")  # the trace has lines of this process
    return plain


def traced(operation: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """An operation of a plan that leaves a trace when it ends, whichever way."""

    async def run(ctx: Context, *rest: Any) -> Any:
        try:
            return await operation(ctx, *rest)
        finally:
            ctx.metadata.append("trace", kind)

    return run


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**40))
def test_any_split_into_invocations_ends_as_its_replay(seed: int) -> None:
    choice = Random(seed)
    wire = RandomWire(random_plan(choice, depth=3), choice)

    with mock.patch.dict(OPERATIONS, {kind: traced(operation, kind) for kind, operation in OPERATIONS.items()}):
        outcome = wire.play()

    recorded = [id for id in wire.ran if id in outcome.journal.step_results]
    assert outcome.status in ("completed", "failed", "compensated", "compensation_failed")
    assert set(recorded) == set(outcome.journal.step_results)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**40))
def test_a_cancel_at_any_time_undoes_each_step_at_most_once(seed: int) -> None:
    choice = Random(seed)
    plans = [["saga", choice.random() < 0.2, random_plan(choice, depth=2)] for _ in range(2)]
    wire = RandomWire(["gather", *plans], choice)
    for _ in range(choice.randrange(4)):
        if wire.outcome is None or wire.outcome.status == "waiting":
            wire.turn()

    outcome = wire.cancel()

    undone = [report["stepId"] for report in msgspec.json.decode(outcome.compensations)]
    steps = outcome.journal.step_results
    assert outcome.status == "cancelled"
    assert len(undone) == len(set(undone)) == sum(id.startswith("unbook") for id in steps)
    assert set(undone) <= set(steps)


class Steady(Machine):
    """The ordinary engine, with the same fates of steps."""

    def outcome(self, command: StepCommand) -> Any:
        return fate(command, 0.0)


def is_orderly(plan: Plan) -> bool:
    """Whether nothing in it depends on what comes first."""
    kind, *rest = plan
    return kind in _ORDERLY and all(is_orderly(part) for part in rest if isinstance(part, list))


@pytest.mark.parametrize("seed", range(40))
def test_what_depends_on_no_order_comes_out_as_in_the_ordinary_engine(seed: int) -> None:
    choice = Random(seed)
    plan = next(found for found in iter(lambda: random_plan(choice, depth=4), None) if is_orderly(found))
    machine = Steady(plan, Random(seed))
    machine.finish()
    assert machine.driver.ended is not None
    wire = RandomWire(plan, choice, fail_rate=0.0)

    wire.play()

    assert wire.result == msgspec.json.decode(machine.driver.ended.value)
