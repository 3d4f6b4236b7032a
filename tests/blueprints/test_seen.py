"""What a node sees of the state: what was there when its visit began, however late it looks, and however often."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from stepwell.engine.graph.outcome import NodeCall
from stepwell.engine.graph.program import GraphProgram
from stepwell.engine.program import StepCommand
from stepwell.model.entries import StepCompleted
from stepwell.model.ids import CommandId
from tests.blueprints.play import BORN_AT, Table

NODES: list[Any] = [{"id": id, "uses": "mix"} for id in ("writes", "looks", "after")]
EDGES = [{"source": "writes", "target": "after"}]


def begun(metadata: dict[str, Any] | None = None) -> GraphProgram:
    return Table({"id": "b", "nodes": NODES, "edges": EDGES, "metadata": metadata or {}}, {"k": 1}).begin([])


def calls(program: GraphProgram) -> dict[str, NodeCall]:
    return {item.id: item.args[0] for item in program.take_commands() if isinstance(item, StepCommand)}


def completed(program: GraphProgram, id: str, outcome: str) -> None:
    program.apply(StepCompleted(id=CommandId(id), value=Raw(outcome.encode()), attempt=1), BORN_AT)


def test_a_node_does_not_see_what_others_write_while_it_runs() -> None:
    program = begun()
    found = calls(program)
    completed(program, "writes", '{"set": {"k": 2, "new": 3}}')

    assert found["looks"].state == {"k": 1}
    assert calls(program)["after"].state == {"k": 2, "new": 3}
    assert found["looks"].state == {"k": 1}


def test_a_node_sees_what_others_delete_while_it_runs() -> None:
    program = begun()
    found = calls(program)
    completed(program, "writes", '{"delete": ["k", "none"]}')

    assert found["looks"].state == {"k": 1}
    assert calls(program)["after"].state == {}


def test_a_node_that_had_to_wait_for_room_sees_what_was_written_before_its_turn() -> None:
    program = begun({"concurrency": 1})
    assert set(calls(program)) == {"writes"}
    completed(program, "writes", '{"set": {"k": 2}}')
    assert set(calls(program)) == {"after"}
    completed(program, "after", '{"set": {"k": 3}}')

    assert calls(program)["looks"].state == {"k": 3}
