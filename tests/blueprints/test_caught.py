"""A caught failure keeps its types: handlers can ask for them, and `error` fails again as what it was."""

from __future__ import annotations

from random import Random
from typing import Any

from stepwell.engine.program import Failed
from tests.blueprints.play import Player, Table

FAILING = {"id": "bad", "uses": "fail", "config": {"fallback": "caught"}}
CAUGHT = {"id": "caught", "uses": "set", "inputs": "_catch_error", "params": {"values": {"error": "input"}}}


def played(nodes: list[Any], edges: list[Any]) -> Player:
    player = Player(Table({"id": "b", "nodes": nodes, "edges": edges}, None), Random(0))
    player.play()
    return player


def test_a_fallback_sees_the_types_of_the_failure() -> None:
    state = played([FAILING, CAUGHT], []).program.machine.root.space.value("error")
    assert state["types"][0] == "stepwell.testing.blueprints.vocabulary.Broken"
    assert state["type"] == "Broken"


def test_an_error_node_fails_again_as_what_was_caught() -> None:
    again = {"id": "again", "uses": "error", "inputs": "error"}
    outcome = played([FAILING, CAUGHT, again], [{"source": "caught", "target": "again"}]).program.outcome
    assert isinstance(outcome, Failed)
    assert outcome.failure.types[0] == "stepwell.testing.blueprints.vocabulary.Broken"


def test_an_error_node_says_what_its_params_say() -> None:
    params = {"message": "closed", "types": ["shop.Closed"]}
    outcome = played([{"id": "end", "uses": "error", "params": params}], []).program.outcome
    assert isinstance(outcome, Failed)
    assert (outcome.failure.types, outcome.failure.message) == (("shop.Closed",), "node 'end': closed")


def test_an_error_node_without_a_message_shows_its_input() -> None:
    values = {"id": "values", "uses": "set", "params": {"values": {"a": "1"}}}
    nodes = [values, {"id": "end", "uses": "error"}]
    outcome = played(nodes, [{"source": "values", "target": "end"}]).program.outcome
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "node 'end': {\"a\":1}"
