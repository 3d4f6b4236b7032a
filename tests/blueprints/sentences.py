"""One case per sentence of what blueprints mean."""

from __future__ import annotations

from tests.blueprints.cases import Sentence, act, blueprint, const, echo, fail

SUB = {"id": "sub", "uses": "subflow", "params": {"blueprintId": "child"}}

SUBFLOWS = [
    Sentence(
        "a subflow of nodes without work ends once",
        [const("a", 1), SUB, const("b", 2), echo("c")],
        ["a -> sub", "a -> b", "b -> c"],
        {"value": {"sub": 1, "c": 2}, "steps": ["a", "b", "c"]},
        blueprints={"child": blueprint("child", [{"id": "x", "uses": "join"}])},
    ),
]

INPUTS = [
    Sentence(
        "a transform beats the mapping of the target even if a later edge has none",
        [const("a", 1), const("b", 2), echo("c", inputs="a")],
        ['a -> c {"transform": "input + 10"}', "b -> c"],
        {"value": 11},
    ),
    Sentence(
        "without a mapping the last taken edge in definition order gives the input",
        [const("a", 1), const("b", 2), echo("c")],
        ['a -> c {"transform": "input + 10"}', "b -> c"],
        {"value": 2},
    ),
]

LOOPS = [
    Sentence(
        "a loop that ends without an exit gives nothing to the result",
        [
            const("a", 1),
            {"id": "loop", "uses": "loop-controller", "params": {"condition": "true"}},
            const("in", 3),
            const("end", 4),
        ],
        ["a -> loop", 'loop -> in {"action": "continue"}', 'in -> end {"condition": "false"}', "end -> loop"],
        {"value": None, "steps": ["a", "in"]},
    ),
]

ROUTING = [
    Sentence(
        "a node whose action nobody listens to has failed and has no output",
        [act("a", "maybe", 1), echo("yes"), echo("no"), echo("late", inputs={"a": "a"}), const("z")],
        ['a -> yes {"action": "yes"}', 'a -> no {"action": "no"}', "z -> late"],
        {"status": "failed", "failure": "action 'maybe'", "steps": ["a", "late", "z"], "outputs": {"a": None}},
    ),
    Sentence(
        "the results of a batch are in the state under the id of its gather node",
        [
            {"id": "all", "uses": "items", "params": {"items": [{}, {}]}},
            {
                "id": "b_scatter",
                "uses": "batch-scatter",
                "params": {"workerUsesKey": "echo", "gatherNodeId": "b_gather"},
            },
            {"id": "b_gather", "uses": "batch-gather", "params": {"gatherNodeId": "b_gather"}},
            {"id": "r", "uses": "read", "params": {"keys": ["b_gather"]}},
        ],
        ["all -> b_scatter", "b_scatter -> b_gather", "b_gather -> r"],
        {"value": {"b_gather": [{"n": 487}, {"n": 488}]}},
    ),
]

SENTENCES = [*SUBFLOWS, *INPUTS, *LOOPS, *ROUTING]
__all__ = ["SENTENCES", "fail"]
