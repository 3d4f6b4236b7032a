"""Cases about fallbacks, failures, and the built-in nodes."""

from __future__ import annotations

from typing import Any

from tests.blueprints.cases import Sentence, act, blueprint, const, echo, fail


def node(id: str, uses: str, **params: Any) -> dict[str, Any]:
    return {"id": id, "uses": uses, "params": params}


CAUGHT = {
    "m": "_catch_error.message",
    "n": "_catch_error.nodeId",
    "b": "_catch_error.blueprintId",
    "t": "_catch_error.type",
}

FALLBACKS = [
    Sentence(
        "a fallback gets the input of what failed, and its output stands for it",
        [const("a", 1), fail("b", fallback="f"), echo("f"), echo("c", inputs={"b": "b", "f": "f", "o": "_outputs.b"})],
        ["a -> b", "b -> c"],
        {"value": {"b": 1, "f": 1, "o": 1}, "steps": ["a", "b", "c", "f"]},
    ),
    Sentence(
        "a fallback reads what it is for",
        [fail("b", "went wrong", fallback="f"), echo("f", inputs=CAUGHT)],
        [],
        {"value": {"m": "went wrong", "n": "b", "b": "main", "t": "Broken"}},
        metadata={"output": "b"},
    ),
    Sentence(
        "nobody but a fallback reads what was caught",
        [fail("a", fallback="f"), echo("f"), echo("b", inputs=CAUGHT)],
        ["a -> b"],
        {"value": {}, "steps": ["a", "b", "f"]},
    ),
    Sentence(
        "a fallback that nobody needs is skipped, and its edges",
        [const("a", 1, config={"fallback": "f"}), echo("f"), echo("c"), echo("d")],
        ["f -> c", "c -> d", "a -> d"],
        {"value": 1, "steps": ["a", "d"]},
    ),
    Sentence(
        "a fallback's own edges are taken, too",
        [fail("a", fallback="f"), const("f", 5), echo("b"), echo("c")],
        ["a -> b", "f -> c"],
        {"value": {"b": 5, "c": 5}},
    ),
    Sentence(
        "a fallback's action takes the edges of what it stands for",
        [fail("a", fallback="f"), act("f", "yes", 5), echo("b"), echo("c")],
        ['a -> b {"action": "yes"}', 'a -> c {"action": "no"}'],
        {"value": 5, "steps": ["a", "b", "f"]},
    ),
    Sentence(
        "a fallback of a fallback stands for both",
        [fail("a", fallback="f"), fail("f", fallback="g"), const("g", 5), echo("b", inputs={"a": "a", "f": "f"})],
        ["a -> b"],
        {"value": {"a": 5, "f": 5}},
    ),
    Sentence(
        "a failing fallback fails what it stands for",
        [fail("a", "first", fallback="f"), fail("f", "second"), echo("b")],
        ["a -> b"],
        {"status": "failed", "steps": ["a", "f"]},
    ),
    Sentence(
        "a fallback of two that fail is visited for each",
        [fail("a", fallback="f"), fail("b", fallback="f"), const("f", 5), echo("c"), echo("d")],
        ["a -> c", "b -> d"],
        {"value": {"c": 5, "d": 5}, "steps": ["a", "b", "c", "d", "f", "f:2"]},
    ),
    Sentence(
        "a fallback with edges into it is an ordinary node if nobody needs it",
        [const("a", 1, config={"fallback": "f"}), const("b", 2), echo("f"), echo("c")],
        ["a -> c", "b -> f"],
        {"value": {"c": 1, "f": 2}, "steps": ["a", "b", "c", "f"]},
    ),
    Sentence(
        "a fallback with edges into it runs only as fallback if somebody needs it",
        [fail("a", fallback="f"), const("b", 2), echo("f"), echo("c", inputs={"f": "f"})],
        ["a -> c", "b -> f"],
        {"outputs": {"c": {"f": 7}}, "steps": ["a", "b", "c", "f"]},
        input=7,
    ),
    Sentence(
        "the attempts are as many as maxRetries says, and at least one",
        [
            {"id": "a", "uses": "flaky", "params": {"times": 2}, "config": {"maxRetries": 3}},
            {"id": "b", "uses": "flaky", "params": {"times": 0}, "config": {"maxRetries": 0}},
            {"id": "c", "uses": "flaky", "params": {"times": 1}, "config": {"maxRetries": 1, "fallback": "f"}},
            const("f", 5),
            echo("d"),
        ],
        ["c -> d"],
        {"outputs": {"d": 5}, "steps": ["a", "b", "c", "d", "f"]},
    ),
    Sentence(
        "a fatal error has no other try and no fallback, and ends the run",
        [{"id": "a", "uses": "fatal", "config": {"maxRetries": 3, "fallback": "f"}}, echo("f")],
        [],
        {"status": "failed", "failure": "node 'a': for good", "steps": ["a"]},
    ),
    Sentence(
        "a fatal error inside a subflow ends the run",
        [{"id": "s", "uses": "subflow", "params": {"blueprintId": "child"}, "config": {"fallback": "f"}}, echo("f")],
        [],
        {"status": "failed", "failure": "node 's/x': for good", "steps": ["s/x"]},
        blueprints={"child": blueprint("child", [{"id": "x", "uses": "fatal"}])},
    ),
]

PLAIN = [
    Sentence(
        "start and join pass on",
        [node("a", "start"), node("b", "join")],
        ["a -> b"],
        {"value": 5, "steps": []},
        input=5,
    ),
    Sentence(
        "an error node fails with its message",
        [node("a", "error", message="no")],
        [],
        {"status": "failed", "failure": "node 'a': no"},
    ),
    Sentence(
        "an error node fails with its input",
        [const("z", "bad"), node("a", "error")],
        ["z -> a"],
        {"status": "failed", "failure": "node 'a': bad"},
    ),
    Sentence(
        "an error node has its fallback",
        [{**node("a", "error", message="no"), "config": {"fallback": "f"}}, const("f", 1), echo("b")],
        ["a -> b"],
        {"value": 1},
    ),
    Sentence(
        "a set node gives what it writes, and sees what it has written",
        [const("z", 5), node("a", "set", values={"x": "input + 1", "y": "x * 2", "n": "nothing"})],
        ["z -> a"],
        {"value": {"x": 6, "y": 12, "n": None}, "state": {"x": 6, "y": 12, "n": None}, "steps": ["z"]},
    ),
    Sentence(
        "a sleep passes on",
        [const("a", 1), node("s", "sleep", duration="1h30m"), node("t", "SleepNode", duration=5), echo("b")],
        ["a -> s", "s -> t", "t -> b"],
        {"value": 1},
    ),
    Sentence(
        "a sleep of a bad duration fails",
        [node("s", "sleep", duration=0), node("t", "sleep", duration="0s")],
        [],
        {"value": {"s": None, "t": None}},
    ),
]

WAITS = [
    Sentence(
        "a wait gives what it is resumed with",
        [node("w", "wait"), echo("b")],
        ["w -> b"],
        {"value": 5},
        script={"w": [{"output": 5}]},
    ),
    Sentence(
        "a wait resumed with nothing gives null",
        [const("a", 1), node("w", "WaitNode"), echo("b")],
        ["a -> w", "w -> b"],
        {"value": None, "steps": ["a", "b"]},
        script={"w": [{}]},
    ),
    Sentence(
        "a wait goes where the answer says",
        [node("w", "wait"), const("yes", "y"), const("no", "n")],
        ['w -> yes {"action": "approve"}', 'w -> no {"action": "reject"}'],
        {"value": "y", "steps": ["yes"]},
        script={"w": [{"action": "approve"}]},
    ),
    Sentence(
        "a wait takes a signal as its output",
        [node("w", "wait", signal="go"), echo("b")],
        ["w -> b"],
        {"value": [1]},
        script={"w": [{"signal": [1]}]},
    ),
    Sentence(
        "a signal may say where to go",
        [node("w", "wait", signal="go"), echo("yes"), echo("no")],
        ['w -> yes {"action": "y"}', 'w -> no {"action": "n"}'],
        {"value": {"action": "y", "n": 1}, "steps": ["yes"]},
        script={"w": [{"signal": {"action": "y", "n": 1}}]},
    ),
    Sentence(
        "a wait that is late takes its edge for that",
        [node("w", "wait", timeout="1h"), echo("late"), echo("b")],
        ['w -> late {"action": "timeout"}', 'w -> b {"action": "ok"}'],
        {"value": None, "steps": ["late"]},
        script={"w": ["timeout"]},
    ),
    Sentence(
        "a wait that is late and has no edge for that fails",
        [node("w", "wait", timeout=500), echo("b")],
        ["w -> b"],
        {"status": "failed", "failure": "node 'w': ", "steps": []},
        script={"w": ["timeout"]},
    ),
    Sentence(
        "a wait that fails has its fallback",
        [
            {**node("w", "wait", timeout=500), "config": {"fallback": "f"}},
            echo("f", inputs="_catch_error.type"),
            echo("b"),
        ],
        ["w -> b"],
        {"value": "TimeoutError"},
        script={"w": ["timeout"]},
    ),
    Sentence(
        "waits at the same time are answered one by one",
        [node("v", "wait"), node("w", "wait"), echo("b", inputs={"v": "v", "w": "w"})],
        ["v -> b", "w -> b"],
        {"value": {"v": 1, "w": 2}},
        script={"v": [{"output": 1}], "w": [{"output": 2}]},
    ),
    Sentence(
        "a webhook tells its url and goes on",
        [node("h", "webhook"), echo("b", inputs={"e": "h.event"})],
        ["h -> b"],
        {"value": {"e": "webhook:h"}},
    ),
]

BATCH = [
    node("s_scatter", "batch-scatter", workerUsesKey="item", gatherNodeId="s_gather"),
    node("s_gather", "batch-gather", gatherNodeId="s_gather"),
]
OVER = ["i -> s_scatter", "s_scatter -> s_gather"]


def batch(items: list[Any], **params: Any) -> list[dict[str, Any]]:
    scatter = {**BATCH[0], "params": {**BATCH[0]["params"], **params}, "config": {"maxRetries": 2}}
    return [const("i", items), scatter, BATCH[1]]


BATCHES = [
    Sentence("a batch of nothing gives an empty array", [const("i"), *BATCH], OVER, {"value": [], "steps": ["i"]}),
    Sentence(
        "a batch of what is not there gives an empty array",
        [{**BATCH[0], "inputs": "none"}, BATCH[1]],
        OVER[1:],
        {"value": []},
    ),
    Sentence(
        "a batch of what is no array fails",
        [const("i", {"a": 1}), *BATCH],
        OVER,
        {"status": "failed", "failure": "node 's_scatter': "},
    ),
    Sentence(
        "results stand in item order, null in its place",
        batch([{"n": 1, "null": True}, {"n": 2}]),
        OVER,
        {"value": [None, 870], "steps": ["i", "s[0]", "s[1]"]},
    ),
    Sentence(
        "items are tried again as the scatter says",
        batch([{"n": 1, "flaky": 1}]),
        OVER,
        {"steps": ["i", "s[0]"], "status": "completed"},
    ),
    Sentence(
        "a batch in chunks gives the same",
        batch([{"n": i, "null": True} for i in range(7)], chunkSize=2),
        OVER,
        {"value": [None] * 7},
    ),
    Sentence(
        "a batch with few at a time gives the same",
        batch([{"n": i, "null": True} for i in range(7)], concurrency=2),
        OVER,
        {"value": [None] * 7},
    ),
    Sentence(
        "a failing item fails the batch and names the item",
        batch([{"n": 1, "fail": True}]),
        OVER,
        {"status": "failed", "failure": "item 0"},
    ),
    Sentence(
        "a batch that settles gives values and errors",
        batch([{"n": 1, "null": True}, {"n": 2, "fail": True}], settle=True),
        OVER,
        {"value": [{"value": None}, {"error": {"message": "item 2", "type": "Broken"}}]},
    ),
    Sentence(
        "items write to the state",
        batch([{"n": 1, "write": "x"}, {"n": 2, "write": "y"}]),
        OVER,
        {"state": {"x": 1, "y": 2}},
    ),
    Sentence(
        "the results are a state key, too",
        [
            const("i", [{"n": 1, "null": True}]),
            BATCH[0],
            node("s_gather", "batch-gather", gatherNodeId="s_gather", outputKey="all"),
        ],
        OVER,
        {"value": [None], "state": {"all": [None]}},
    ),
]

DYNAMIC = [
    Sentence(
        "dynamic nodes run after their creator, and the gather node waits for them",
        [
            node(
                "a",
                "spawn",
                gather="g",
                nodes=[
                    {"id": "d1", "uses": "const", "params": {"value": 1}},
                    {"id": "d2", "uses": "echo", "inputs": "x"},
                ],
            ),
            echo("g", inputs={"one": "d1", "two": "_outputs.d2"}),
        ],
        ["a -> g"],
        {"outputs": {"g": {"one": 1, "two": 5}}, "steps": ["a", "d1", "d2", "g"]},
        input={"x": 5},
        metadata={"output": "g"},
    ),
]

DYNAMIC_MORE = [
    Sentence(
        "a batch gather node gives what dynamic nodes gave in the order in which they were made",
        [
            node(
                "a",
                "spawn",
                gather="g",
                nodes=[{"id": f"d{i}", "uses": "const", "params": {"value": i}} for i in range(4)],
            ),
            node("g", "batch-gather", gatherNodeId="g"),
        ],
        ["a -> g"],
        {"outputs": {"g": [0, 1, 2, 3]}},
        metadata={"output": "g"},
    ),
    Sentence(
        "a dynamic node that fails makes its gather node be skipped",
        [node("a", "spawn", gather="g", nodes=[{"id": "d", "uses": "fail"}]), echo("g")],
        ["a -> g"],
        {"status": "failed", "failure": "node 'd': on purpose", "steps": ["a", "d"]},
    ),
    Sentence(
        "a dynamic node whose id is taken fails its creator",
        [node("a", "spawn", nodes=[{"id": "b", "uses": "const"}]), const("b"), echo("c")],
        ["a -> c"],
        {"status": "failed", "failure": "node 'a': ", "steps": ["a", "b"]},
    ),
]

SENTENCES = [*DYNAMIC_MORE, *FALLBACKS, *PLAIN, *WAITS, *BATCHES, *DYNAMIC]
