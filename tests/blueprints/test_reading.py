"""How the evaluator reads a document: which loop is around which."""

from __future__ import annotations

from stepwell.testing.blueprints.documents import read
from tests.blueprints.cases import blueprint

LOOP = {"uses": "loop-controller", "params": {"condition": "false"}}
NODES = [{"id": id, "uses": "echo"} for id in ("y", "x", "left", "a", "b")]
CONTROLLERS = [{"id": "inner", **LOOP}, {"id": "outer", **LOOP}]
EDGES = [
    "a -> b",
    "b -> a",
    "b -> outer",
    'outer -> x {"action": "continue"}',
    "x -> y",
    'inner -> y {"action": "continue"}',
    "y -> inner",
    "y -> left",
    "inner -> left",
    "left -> outer",
]


def test_of_two_loops_on_the_way_of_each_other_that_by_which_they_are_entered_is_around() -> None:
    bodies = read(blueprint("b", [*NODES, *CONTROLLERS], EDGES)).bodies

    assert bodies == {"inner": {"y"}, "outer": {"x", "y", "inner", "left"}}
