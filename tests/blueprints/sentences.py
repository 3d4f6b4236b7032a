"""All cases written by hand; here those that random blueprints have found."""

from __future__ import annotations

from tests.blueprints import sentences_loops, sentences_nodes, sentences_routing
from tests.blueprints.cases import Sentence, act, blueprint, const, echo

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
        "on the first iteration a continue edge's transform sees the input of the loop",
        [
            const("a", 1),
            {"id": "loop", "uses": "loop-controller", "params": {"condition": "(n ?? 0) < 1"}},
            {"id": "n", "uses": "count", "params": {"key": "n"}},
            echo("out"),
        ],
        ["a -> loop", 'loop -> n {"action": "continue", "transform": "[input]"}', "n -> loop", "loop -> out"],
        {"value": 1, "inputs": {"n": [1]}},
    ),
    Sentence(
        "a transform on the way out of a loop sees its output by name",
        [
            const("a", 1),
            {"id": "loop", "uses": "loop-controller", "params": {"condition": "(n ?? 0) < 2"}},
            {"id": "n", "uses": "count", "params": {"key": "n"}},
            echo("out"),
        ],
        [
            "a -> loop",
            'loop -> n {"action": "continue"}',
            "n -> loop",
            'loop -> out {"action": "break", "transform": "[loop, input]"}',
        ],
        {"value": [2, 2], "outputs": {"loop": 2}},
    ),
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

STATE = [
    Sentence(
        "a set node that fails writes nothing",
        [
            {"id": "a", "uses": "set", "params": {"values": {"x": "1", "y": "x + what.is"}}},
            const("b"),
            {"id": "r", "uses": "read", "params": {"keys": ["x"]}, "inputs": {"a": "a", "b": "b"}},
        ],
        ["b -> r"],
        {"status": "failed", "failure": "y", "state": {"x": None}},
    ),
    Sentence(
        "a set node sees the values before it and its input under any name",
        [
            const("b", 5),
            {"id": "a", "uses": "set", "params": {"values": {"what": "input + 1", "space": 'context["what"] + 1'}}},
        ],
        ["b -> a"],
        {"value": {"what": 6, "space": 7}, "state": {"what": 6, "space": 7}},
    ),
]

FAILURES = [
    Sentence(
        "the failure of a subflow's edges names the subflow",
        [SUB, echo("b")],
        ['sub -> b {"condition": "what.is[0]"}'],
        {"status": "failed", "failure": "node 'sub': condition of the edge 'sub' -> 'b'"},
        blueprints={"child": blueprint("child", [const("x", 1)])},
    ),
    Sentence(
        "a fallback that was not needed is skipped even if the edges of its node fail",
        [const("a", 1, config={"fallback": "f"}), echo("f"), echo("b"), const("c", 2), echo("d")],
        ['a -> b {"condition": "what.is[0]"}', "f -> d", "c -> d"],
        {"status": "failed", "failure": "condition of the edge", "steps": ["a", "c", "d"]},
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

SENTENCES = [
    *sentences_routing.SENTENCES,
    *sentences_nodes.SENTENCES,
    *sentences_loops.SENTENCES,
    *FAILURES,
    *SUBFLOWS,
    *INPUTS,
    *LOOPS,
    *ROUTING,
    *STATE,
]
