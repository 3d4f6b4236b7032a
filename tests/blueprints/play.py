"""Plays a blueprint on the graph program, without a store: steps end in any order, and history is replayed anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.codec.failures import failure_of
from stepwell.engine.graph.outcome import NodeCall, NodeOutcome
from stepwell.engine.graph.plan import Plan, make_plans
from stepwell.engine.graph.program import GraphProgram
from stepwell.engine.program import Abandon, ActCommand, Completed, Failed, Line, Origin, StepCommand
from stepwell.errors import FatalError
from stepwell.formats.flowcraft import graph_of
from stepwell.model.blueprints import Node
from stepwell.model.entries import (
    AttemptFailed,
    Confirmed,
    Created,
    Entry,
    Intended,
    Received,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import MessageId, RunId
from stepwell.model.messages import HookCompleted, Message, Signal
from stepwell.model.policies import Retry, StepOptions
from stepwell.testing.blueprints.built_ins import answer_of
from stepwell.testing.blueprints.vocabulary import VOCABULARY, Call, Reply

Json = Any
BORN_AT = 1_000


class Binding:
    """A node of the vocabulary as the engine knows it."""

    def __init__(self, node: Node) -> None:
        self.options = StepOptions(name=node.id, retry=Retry(attempts=node.config.attempts))

    def decode_result(self, raw: Raw) -> NodeOutcome:
        return msgspec.json.decode(raw, type=NodeOutcome)

    def isolate_args(self, args: Any, kwargs: Any) -> Any:
        return args, kwargs, 0


class Host:
    """What the layer above would do, with plain JSON."""

    def plain(self, raw: Raw) -> Raw:
        return raw

    def result(self, value: Raw) -> Raw:
        return value

    def failure_of(self, error: BaseException) -> Failure:
        return failure_of(error)

    def node(self, raw: Raw) -> Node:
        return graph_of({"id": "made", "nodes": [msgspec.json.decode(raw)]}).nodes[0]

    def hook_url(self, token: str) -> str:
        return f"http://test/{token}"


@dataclass
class Played:
    """How a run ended. `steps` are the ids of all steps that were asked for; the rest is of the outermost blueprint."""

    status: str
    value: Json
    failure: str
    outputs: dict[str, Json]
    inputs: dict[str, Json]
    state: dict[str, Json]
    steps: set[str]
    journal: list[Line] = field(repr=False, default_factory=list)


class Table:
    """One case on the table: from here programs begin, as often as one likes."""

    def __init__(
        self,
        document: dict[str, Json],
        input: Json,
        blueprints: Mapping[str, Json] | None = None,
        script: Mapping[str, list[Json]] | None = None,
    ) -> None:
        graphs = [graph_of(other) for other in (blueprints or {}).values()]
        self.plan: Plan = make_plans(graph_of(document), graphs, self._bind)
        self.script = script or {}
        payload = Raw(msgspec.json.encode(input))
        created = Created(workflow=document["id"], input=payload, seed="00" * 16)
        self.origin = Origin(
            run=RunId("run"),
            base=1,
            created=created,
            input=payload,
            seed=created.seed,
            started_at=BORN_AT,
            born_at=BORN_AT,
            random_base=1,
        )

    def _bind(self, node: Node) -> Any:
        return Binding(node) if node.uses in VOCABULARY else None

    def begin(self, history: list[Line]) -> GraphProgram:
        program = GraphProgram(self.plan, self.origin, Host())
        program.begin(history, at=BORN_AT, is_repeat=False)
        return program


class Player:
    """Plays one run to its end: what may happen next is drawn. With `history`, it goes on from there."""

    def __init__(self, table: Table, rng: Random, history: Sequence[Line] = ()) -> None:
        self.table = table
        self.rng = rng
        self.order = rng.choice(["any", "any", "first", "last"])
        self.program = table.begin(list(history))
        self.now = history[-1].at if history else BORN_AT
        self.journal: list[Line] = list(history)
        self.pending: dict[str, tuple[StepCommand, dict[str, Json]]] = {}
        self.attempts: dict[str, int] = {}
        self.steps: set[str] = set()
        self.before: list[set[str]] = [set() for _ in history]
        self.mail = sum(isinstance(line.entry, Received) for line in history)
        for line in history:
            if isinstance(line.entry, AttemptFailed):
                self.attempts[line.entry.id] = line.entry.attempt
            elif isinstance(line.entry, StepCompleted | StepFailed):
                self.steps.add(line.entry.id)

    def play(self) -> Played:
        self._collect()
        while self.program.outcome is None:
            assert len(self.journal) < 20_000, "it does not end"
            self._move()
            self._collect()
        return finished(self.program, self.steps, self.journal)

    def _collect(self) -> None:
        for command in self.program.take_commands():
            if isinstance(command, StepCommand):
                assert command.id not in self.pending, f"{command.id} was asked for twice"
                call: NodeCall = command.args[0]
                self.pending[command.id] = command, call.state
                self.steps.add(command.id)
            elif isinstance(command, Abandon):
                self.pending.pop(command.id, None)
            elif isinstance(command, ActCommand):
                self._feed(Intended(id=command.id, act=command.act))
                self._feed(Confirmed(id=command.id))

    def _feed(self, entry: Entry) -> None:
        """An entry as the driver feeds it: of failed attempts the program hears only on replay."""
        self.before.append(set(self.pending))
        self.journal.append(Line(2 + len(self.journal), self.now, entry))
        if not isinstance(entry, AttemptFailed | Intended):
            self.program.apply(entry, self.now)

    def _move(self) -> None:
        answers = self._answers()
        due = self.program.next_due()
        moves: list[str] = ["step"] * len(self.pending) + ["answer"] * len(answers)
        if due is not None and all(until is None or until > due for _, until in answers):
            moves.append("timer")
        assert moves, f"nothing can move: {self.program.stuck_at()}"
        move = moves[0] if self.order == "first" else self.rng.choice(moves)
        if move == "step":
            self._step()
        elif move == "answer":
            message, _ = self.rng.choice(answers)
            self.mail += 1
            self._feed(Received(no=self.mail, id=MessageId(f"m{self.mail}"), at=self.now, message=message))
        else:
            assert due is not None, "there is a timer"
            self.now = max(self.now, due)
            n, when, name = self.program.due_timers(self.now)[0]
            self._feed(TimerFired(n=n, due=when, name=name))

    def _answers(self) -> list[tuple[Message, int | None]]:
        """What waiting nodes may be told now, with the time until which they wait."""
        found: dict[str, tuple[Message, int | None]] = {}
        for wait in self.program.waits():
            visit = self.program.machine.visits.get(wait.detail)  # type: ignore[call-overload]
            if visit is None or wait.kind not in {"token", "signal", "event"}:
                continue
            _, _, count = visit.id.rpartition("/")[2].partition(":")
            blueprint = visit.scope.space.plan.graph.id
            answer = answer_of(self.table.script, blueprint, visit.node.id, int(count or 1))
            if answer != "timeout":
                found[visit.id] = _message(visit, answer), wait.until
        return list(found.values())

    def _step(self) -> None:
        ids = list(self.pending)
        id = {"first": ids[0], "last": ids[-1]}.get(self.order) or self.rng.choice(ids)
        command, state = self.pending[id]
        attempt = self.attempts[id] = self.attempts.get(id, 0) + 1
        call: NodeCall = command.args[0]
        input = None if call.input is UNSET else call.input
        retry = command.definition.options.retry
        try:
            reply = VOCABULARY[call.node.uses](Call(input, call.params, state, attempt))
        except Exception as error:
            failure = failure_of(error, step=id, attempts=attempt)
            if attempt < retry.attempts and not isinstance(error, FatalError):
                self._feed(AttemptFailed(id=command.id, failure=failure, attempt=attempt, retry_at=self.now))
                return
            self._feed(StepFailed(id=command.id, failure=failure, attempt=attempt))
        else:
            self._feed(StepCompleted(id=command.id, value=outcome_of(reply), attempt=attempt))
        del self.pending[id]


def outcome_of(reply: Reply) -> Raw:
    """What the journal holds of a reply."""
    value = {
        "output": reply.output,
        "action": reply.action,
        "set": reply.writes,
        "delete": reply.deletes,
        "nodes": reply.nodes,
    }
    return Raw(msgspec.json.encode({key: part for key, part in value.items() if part is not None}))


def _message(visit: Any, answer: Json) -> Message:
    if "signal" in answer:
        return Signal(name=visit.node.node.params["signal"], value=Raw(msgspec.json.encode(answer["signal"])))
    return HookCompleted(base=1, command=visit.id, value=Raw(msgspec.json.encode(answer)))


def finished(program: GraphProgram, steps: set[str], journal: list[Line]) -> Played:
    """What there is to compare of a program that has ended."""
    space = program.machine.root.space
    outcome = program.outcome
    assert isinstance(outcome, Completed | Failed), f"it ended with {outcome}"
    is_failed = isinstance(outcome, Failed)
    return Played(
        status="failed" if is_failed else "completed",
        value=None if is_failed else msgspec.json.decode(outcome.value),
        failure=outcome.failure.message if is_failed else "",
        outputs={id: msgspec.json.decode(raw) for id, raw in space.outputs.items()},
        inputs={id: msgspec.json.decode(visit.input or NULL) for id, visit in space.latest.items()},
        state={key: msgspec.json.decode(raw) for key, raw in space.state.items()},
        steps=steps,
        journal=journal,
    )


def replayed(table: Table, player: Player, count: int) -> Played:
    """The run again: the first `count` entries as history, the others as they come."""
    journal = player.journal
    program = table.begin(journal[:count])
    if count < len(journal):
        asked = {command.id for command in program.take_commands() if isinstance(command, StepCommand)}
        assert asked == player.before[count], f"after {count} entries other steps are asked for"
    for line in journal[count:]:
        if not isinstance(line.entry, AttemptFailed | Intended):
            program.apply(line.entry, line.at)
        program.take_commands()
    return finished(program, player.steps, journal)
