"""Cases about documents, edges, joins, inputs and expressions."""

from __future__ import annotations

from tests.blueprints.cases import Sentence, act, const, echo, fail

DOCUMENTS = [
    Sentence("a blueprint without nodes completes with null", [], [], {"value": None}),
    Sentence("nodes may be null", None, None, {"value": None}),
    Sentence(
        "nodes and edges may be objects, and a node without id takes its key",
        {"a": {"uses": "const", "params": {"value": 1}}, "x": echo("b")},
        {"e": {"source": "a", "target": "b"}},
        {"value": 1, "steps": ["a", "b"]},
    ),
    Sentence(
        "unknown fields mean nothing",
        [const("a", 1, position={"x": 5}, _sourceLocation={"line": 1})],
        [],
        {"value": 1},
        metadata={"author": "me", "style": {"a": 1}},
    ),
    Sentence(
        "empty texts are absent",
        [const("a", 1), echo("b", inputs="")],
        [{"source": "a", "target": "b", "action": "", "condition": "", "transform": ""}],
        {"value": 1},
    ),
    Sentence(
        "an edge said twice has the last content at the first place",
        [const("a", 1), const("b", 2), echo("c")],
        ['a -> c {"transform": "10"}', "b -> c", 'a -> c {"transform": "20"}'],
        {"value": 2},
    ),
    Sentence(
        "signs of visit ids are encoded in names",
        [const("a/b", 1), echo("c:2"), echo("d[e]~%")],
        ["a/b -> c:2", "c:2 -> d[e]~%"],
        {"value": 1, "steps": ["a%2Fb", "c%3A2", "d%5Be%5D%7E%25"]},
    ),
    Sentence("an empty id is an id", [const("", 1), echo("b")], [" -> b"], {"value": 1}),
    Sentence(
        "the output may be one node's", [const("a", 1), const("b", 2)], [], {"value": 1}, metadata={"output": "a"}
    ),
    Sentence(
        "the output may be several nodes' by key",
        [const("a", 1), const("b", 2)],
        [],
        {"value": {"x": 1, "y": 2}},
        metadata={"output": {"x": "a", "y": "b"}},
    ),
    Sentence("several ends give an object", [const("a", 1), const("b", 2)], [], {"value": {"a": 1, "b": 2}}),
    Sentence(
        "an end that was skipped gives nothing",
        [const("a", 1), const("b", 2), echo("c")],
        ['a -> c {"condition": "false"}'],
        {"value": 2},
    ),
    Sentence(
        "a blueprint whose ends were all skipped gives null",
        [const("a", 1), echo("b")],
        ['a -> b {"condition": "false"}'],
        {"value": None},
    ),
    Sentence(
        "null is an output",
        [const("a"), echo("b")],
        ["a -> b"],
        {"value": None, "outputs": {"a": None}, "steps": ["a", "b"]},
    ),
]

EDGES = [
    Sentence(
        "an action takes the edges that name it",
        [act("a", "yes", 1), echo("b"), echo("c")],
        ['a -> b {"action": "yes"}', 'a -> c {"action": "no"}'],
        {"value": 1, "steps": ["a", "b"]},
    ),
    Sentence(
        "an action that is named takes no edge without action",
        [act("a", "yes", 1), echo("b"), echo("c")],
        ['a -> b {"action": "yes"}', "a -> c"],
        {"value": 1, "steps": ["a", "b"]},
    ),
    Sentence(
        "an action that nobody names takes the edges without action",
        [act("a", "maybe", 1), echo("b"), echo("c")],
        ['a -> b {"action": "yes"}', "a -> c"],
        {"value": 1, "steps": ["a", "c"]},
    ),
    Sentence(
        "a named action whose conditions are false takes the edges without action",
        [act("a", "yes", 1), echo("b"), echo("c")],
        ['a -> b {"action": "yes", "condition": "false"}', "a -> c"],
        {"value": 1, "steps": ["a", "c"]},
    ),
    Sentence(
        "a named action with false conditions and no other edge ends there",
        [act("a", "yes", 1), echo("b")],
        ['a -> b {"action": "yes", "condition": "false"}'],
        {"value": None, "steps": ["a"]},
    ),
    Sentence(
        "no action takes no edge that names one",
        [const("a", 1), echo("b")],
        ['a -> b {"action": "yes"}'],
        {"value": None, "steps": ["a"]},
    ),
    Sentence("a node without edges may answer with any action", [act("a", "maybe", 1)], [], {"value": 1}),
    Sentence("an empty action is none", [act("a", "", 1), echo("b")], ["a -> b"], {"value": 1}),
    Sentence(
        "an action that nobody listens to fails the node",
        [act("a", "maybe", 1), echo("b"), echo("c"), const("d", 2)],
        ['a -> b {"action": "yes"}', 'a -> c {"action": "no"}'],
        {"status": "failed", "failure": "node 'a': action 'maybe'", "steps": ["a", "d"]},
    ),
    Sentence(
        "all edges whose conditions hold are taken",
        [const("a", 5), echo("b"), echo("c"), echo("d")],
        ['a -> b {"condition": "result.output > 1"}', 'a -> c {"condition": "a > 2"}', 'a -> d {"condition": "a > 9"}'],
        {"value": {"b": 5, "c": 5}},
    ),
    Sentence(
        "conditions see the action, the state and outputs by name",
        [act("a", "go", 3), echo("b"), echo("c"), echo("d")],
        [
            'a -> b {"action": "go", "condition": "result.action === \\"go\\""}',
            'a -> c {"action": "go", "condition": "tier === \\"gold\\" && context[\\"a\\"] === 3"}',
            'a -> d {"action": "go", "condition": "tier"}',
        ],
        {"value": {"b": 3, "c": 3, "d": 3}},
        input={"tier": "gold"},
    ),
    Sentence(
        "an output hides a state key of the same name",
        [const("a", 5), echo("b", inputs="a")],
        ["a -> b"],
        {"value": 5, "state": {"a": 1}},
        input={"a": 1},
    ),
    Sentence(
        "a condition that cannot be computed fails its node, without another try",
        [const("a", 5, config={"maxRetries": 3, "fallback": "f"}), echo("b"), echo("f")],
        ['a -> b {"condition": "nothing.there[0]"}'],
        {"status": "failed", "failure": "node 'a': ", "steps": ["a"]},
    ),
    Sentence(
        "a transform that cannot be computed fails its node",
        [const("a", 5), echo("b")],
        ['a -> b {"transform": "input + null"}'],
        {"status": "failed", "failure": "node 'a': ", "steps": ["a"]},
    ),
    Sentence(
        "an undefined transform gives null",
        [const("a", 5), echo("b")],
        ['a -> b {"transform": "nothing"}'],
        {"value": None},
    ),
]

JOINS = [
    Sentence(
        "a join of all waits for all, and runs if one edge was taken",
        [const("a", 1), const("b", 2), echo("c", inputs={"a": "a", "b": "b"})],
        ["a -> c", 'b -> c {"condition": "false"}'],
        {"value": {"a": 1, "b": 2}},
    ),
    Sentence(
        "a join of all behind dead paths is skipped, and passes it on",
        [const("a", 1), echo("b"), echo("c"), echo("d"), echo("e")],
        ['a -> b {"condition": "false"}', 'a -> c {"condition": "false"}', "b -> d", "c -> d", "d -> e"],
        {"value": None, "steps": ["a"]},
    ),
    Sentence(
        "a join of all is skipped if an edge has failed, and what follows, too",
        [const("a", 1), fail("b"), echo("c"), echo("d"), const("z", 3), echo("e")],
        ["a -> c", "b -> c", "c -> d", "d -> e", "z -> e"],
        {"status": "failed", "failure": "node 'b': on purpose", "steps": ["a", "b", "z"]},
    ),
    Sentence(
        "a join of any runs once, at the first edge that is taken",
        [const("a", 1), const("b", 1), const("c", 1), echo("j", config={"joinStrategy": "any"}), echo("d")],
        ["a -> j", "b -> j", "c -> j", "j -> d"],
        {"value": 1, "steps": ["a", "b", "c", "d", "j"]},
    ),
    Sentence(
        "a join of any runs beside a failure",
        [const("a", 1), fail("b"), echo("j", config={"joinStrategy": "any"})],
        ["a -> j", "b -> j"],
        {"status": "failed", "steps": ["a", "b", "j"]},
    ),
    Sentence(
        "a join of any behind dead paths is skipped",
        [const("a", 1), const("b", 1), echo("j", config={"joinStrategy": "any"})],
        ['a -> j {"condition": "false"}', 'b -> j {"condition": "false"}'],
        {"value": None, "steps": ["a", "b"]},
    ),
    Sentence(
        "a failure beside does not stop the others, and the first names the run's failure",
        [fail("a", "first"), const("b", 1), echo("c"), echo("d")],
        ["b -> c", "c -> d"],
        {"status": "failed", "failure": "node 'a': first", "steps": ["a", "b", "c", "d"]},
    ),
    Sentence(
        "nodes in a ring without a controller run once each",
        [const("s", 1), echo("a"), echo("b"), echo("c")],
        ["s -> a", "a -> b", "b -> a", "b -> c"],
        {"value": 1, "steps": ["a", "b", "c", "s"]},
        metadata={"cycleEntryPoints": ["a"]},
    ),
    Sentence(
        "a ring begins at its declared entry and gives it the run's input",
        [echo("b"), echo("a"), echo("c")],
        ["a -> b", "b -> a", "b -> c"],
        {"value": 7, "steps": ["a", "b", "c"]},
        metadata={"cycleEntryPoints": ["a"]},
        input=7,
    ),
]

INPUTS = [
    Sentence("a start node gets the run's input", [echo("a"), echo("b")], [], {"value": {"a": 5, "b": 5}}, input=5),
    Sentence(
        "an input that is an object is the first state",
        [{"id": "a", "uses": "read", "params": {"keys": ["x", "y"]}}],
        [],
        {"value": {"x": 1, "y": None}},
        input={"x": 1},
    ),
    Sentence(
        "of several taken edges the last in definition order gives the input",
        [const("a", 1), const("b", 2), echo("c")],
        ["b -> c", "a -> c"],
        {"value": 1},
    ),
    Sentence(
        "edges that were not taken give no input",
        [const("a", 1), const("b", 2), echo("c")],
        ["a -> c", 'b -> c {"condition": "false"}'],
        {"value": 1},
    ),
    Sentence(
        "a mapping names outputs, their properties and state keys",
        [
            const("a", {"x": {"y": [4, 5]}}),
            echo(
                "b",
                inputs={
                    "all": "a",
                    "deep": "a.x.y.1",
                    "state": "s",
                    "path": "t.u",
                    "own": "_outputs.a",
                    "in": "_inputs.a",
                },
            ),
        ],
        ["a -> b"],
        {
            "value": {
                "all": {"x": {"y": [4, 5]}},
                "deep": 5,
                "state": 1,
                "path": 2,
                "own": {"x": {"y": [4, 5]}},
                "in": {"s": 1, "t": {"u": 2}},
            }
        },
        input={"s": 1, "t": {"u": 2}},
    ),
    Sentence(
        "what a mapping does not find is absent from an object",
        [echo("a", inputs={"x": "none", "y": "s"})],
        [],
        {"value": {"y": 1}},
        input={"s": 1},
    ),
    Sentence(
        "what a mapping does not find is null alone",
        [const("z", 1), echo("a", inputs="none.of.it")],
        ["z -> a"],
        {"value": None},
    ),
    Sentence(
        "a transform sees what the target's mapping names instead of the source's output",
        [const("a", 1), const("b", 2), echo("c", inputs="a")],
        ["a -> b", 'b -> c {"transform": "[input]"}'],
        {"value": [1]},
    ),
    Sentence(
        "a transform sees the source's output if the mapping names the source",
        [const("a", 1), const("b", 2), echo("c", inputs="b")],
        ["a -> b", 'b -> c {"transform": "[input]"}'],
        {"value": [2]},
    ),
    Sentence(
        "a transform sees everything by key",
        [const("a-b", 1), const("c", 2), echo("d")],
        ["a-b -> c", 'c -> d {"transform": "[context[\\"a-b\\"], context[\\"_outputs.c\\"], context.s, input]"}'],
        {"value": [1, 2, 3, 2]},
        input={"s": 3},
    ),
    Sentence(
        "of several transforms the last in definition order counts",
        [const("a", 1), const("b", 2), echo("c", inputs="a")],
        ['a -> c {"transform": "10"}', 'b -> c {"transform": "20"}'],
        {"value": 20},
    ),
]

STATE = [
    Sentence(
        "a write is seen by what follows",
        [
            {"id": "a", "uses": "count", "params": {"key": "x"}},
            {"id": "b", "uses": "read", "params": {"keys": ["x", "z"]}},
            echo("c", inputs={"x": "x"}),
        ],
        ["a -> b", "b -> c"],
        {"value": {"x": 1}, "outputs": {"b": {"x": 1, "z": None}}, "state": {"x": 1}},
    ),
    Sentence(
        "a key that was deleted is gone",
        [
            {"id": "a", "uses": "write", "params": {"toggle": ["x"]}},
            {"id": "b", "uses": "read", "params": {"keys": ["x"]}},
        ],
        ["a -> b"],
        {"value": {"x": None}, "state": {}},
        input={"x": 1},
    ),
    Sentence(
        "nodes at the same time that write different keys lose none",
        [{"id": f"n{i}", "uses": "count", "params": {"key": f"k{i}"}} for i in range(20)],
        [],
        {"state": {f"k{i}": 1 for i in range(20)}},
    ),
]

SENTENCES = [*DOCUMENTS, *EDGES, *JOINS, *INPUTS, *STATE]
