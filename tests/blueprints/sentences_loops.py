"""Cases about loops and subflows."""

from __future__ import annotations

from typing import Any

from tests.blueprints.cases import Sentence, blueprint, const, echo, fail


def loop(id: str, condition: str, **params: Any) -> dict[str, Any]:
    return {"id": id, "uses": "loop-controller", "params": {"condition": condition, **params}}


def count(id: str, key: str = "n", **fields: Any) -> dict[str, Any]:
    return {"id": id, "uses": "count", "params": {"key": key}, **fields}


WHILE = ["a -> L", 'L -> n {"action": "continue"}', "n -> L", 'L -> out {"action": "break"}']

LOOPS = [
    Sentence(
        "a loop that is entered checks first",
        [const("a", 1), loop("L", "false"), count("n"), echo("out")],
        WHILE,
        {"value": None, "steps": ["a", "out"]},
    ),
    Sentence(
        "a loop goes on while its condition holds, and gives what its end node gave last",
        [const("a", 1), loop("L", "(n ?? 0) < 3"), count("n"), echo("out")],
        WHILE,
        {"value": 3, "steps": ["a", "n", "n:2", "n:3", "out"]},
    ),
    Sentence(
        "a loop whose body is entered checks last",
        [const("a", 1), loop("L", "false"), count("n"), echo("out")],
        ["a -> n", *WHILE[1:]],
        {"value": 1, "steps": ["a", "n", "out"]},
    ),
    Sentence(
        "a loop that nothing leads to begins with its body, which gets the run's input",
        [loop("L", "n < 2"), count("n"), echo("out")],
        WHILE[1:],
        {"value": 2, "steps": ["n", "n:2", "out"], "inputs": {"n": 1}},
        input=7,
    ),
    Sentence(
        "the first iteration gets the loop's input",
        [const("a", 5), loop("L", "!n"), echo("n"), echo("out")],
        WHILE,
        {"value": 5, "inputs": {"n": 5}},
    ),
    Sentence(
        "later iterations get the end node's output",
        [const("a", 5), loop("L", "(n ?? 0) < 2"), count("n"), echo("out")],
        WHILE,
        {"value": 2, "inputs": {"n": 1}},
    ),
    Sentence(
        "an edge out of a loop needs no action",
        [const("a", 5), loop("L", "!n"), count("n"), echo("out")],
        [*WHILE[:3], "L -> out"],
        {"value": 1},
    ),
    Sentence(
        "a true condition on an edge out of a loop ends it, by that edge",
        [const("a", 5), loop("L", "true"), count("n"), echo("out"), echo("early")],
        [*WHILE, 'L -> early {"condition": "n === 2"}'],
        {"value": 2, "steps": ["a", "early", "n", "n:2"]},
    ),
    Sentence(
        "too many iterations fail the loop",
        [const("a", 5), loop("L", "true", maxIterations=3), count("n"), echo("out")],
        WHILE,
        {"status": "failed", "failure": "node 'L': ", "steps": ["a", "n", "n:2", "n:3"]},
    ),
    Sentence(
        "a loop of exactly as many iterations as allowed is fine",
        [const("a", 5), loop("L", "(n ?? 0) < 3", maxIterations=3), count("n"), echo("out")],
        WHILE,
        {"value": 3},
    ),
    Sentence(
        "a condition that cannot be computed fails the loop",
        [const("a", 5), loop("L", "x.y[0]"), count("n"), echo("out")],
        WHILE,
        {"status": "failed", "failure": "node 'L': ", "steps": ["a"]},
    ),
    Sentence(
        "a loop that is not reached is skipped with its body",
        [const("a", 5), loop("L", "true"), count("n"), echo("out")],
        ['a -> L {"condition": "false"}', *WHILE[1:]],
        {"value": None, "steps": ["a"]},
    ),
    Sentence(
        "an iteration that does not lead back ends the loop, and what follows is skipped",
        [const("a", 5), loop("L", "true"), count("n"), echo("end"), echo("out")],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            'n -> end {"condition": "n < 2"}',
            "end -> L",
            'L -> out {"action": "break"}',
        ],
        {"value": None, "steps": ["a", "end", "n", "n:2"]},
    ),
    Sentence(
        "a failure in the body ends the loop and fails the run",
        [const("a", 5), loop("L", "true"), fail("n"), echo("out")],
        WHILE,
        {"status": "failed", "failure": "node 'n': on purpose", "steps": ["a", "n"]},
    ),
    Sentence(
        "a loop within a loop begins anew each time",
        [
            const("a", 5),
            loop("L", "(n ?? 0) < 2"),
            count("n"),
            loop("M", "(m ?? 0) < n * 2"),
            count("m", "m"),
            echo("e"),
            echo("out"),
        ],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            "n -> M",
            'M -> m {"action": "continue"}',
            "m -> M",
            'M -> e {"action": "break"}',
            "e -> L",
            "L -> out",
        ],
        {"value": 4, "outputs": {"m": 4}, "steps": ["a", "e", "e:2", "m", "m:2", "m:3", "m:4", "n", "n:2", "out"]},
    ),
    Sentence(
        "an edge into the body from outside keeps what it came to, and its value gives way to those of the iteration",
        [const("a", 5), const("x", 9), loop("L", "(n ?? 0) < 2"), count("n"), echo("b"), echo("out")],
        ["a -> L", 'L -> n {"action": "continue"}', "n -> b", "x -> b", "b -> L", "L -> out"],
        {"value": 2, "steps": ["a", "b", "b:2", "n", "n:2", "out", "x"]},
    ),
    Sentence(
        "the first iteration gets what enters the body, later ones what the end node gave",
        [
            const("a", 5),
            loop("L", "n < 20"),
            {"id": "d", "uses": "set", "params": {"values": {"n": "input * 2"}}},
            echo("out"),
        ],
        ['L -> d {"action": "continue", "transform": "input.n"}', "d -> L", "a -> d", "L -> out"],
        {"value": {"n": 20}, "steps": ["a", "out"]},
    ),
    Sentence(
        "an edge out of the body is taken once",
        [const("a", 5), loop("L", "(n ?? 0) < 3"), count("n"), echo("aside"), echo("out")],
        [*WHILE, "n -> aside"],
        {"value": {"aside": 1, "out": 3}, "steps": ["a", "aside", "n", "n:2", "n:3", "out"]},
    ),
    Sentence(
        "an edge out of the body that no iteration takes is dead when the loop is over",
        [const("a", 5), loop("L", "(n ?? 0) < 3"), count("n"), echo("aside"), echo("out"), echo("all")],
        [*WHILE, 'n -> aside {"condition": "n > 9"}', "aside -> all", "out -> all"],
        {"value": 3, "steps": ["a", "all", "n", "n:2", "n:3", "out"]},
    ),
    Sentence(
        "an edge out of the body that fails in one iteration may still be taken in another",
        [const("a", 5), loop("L", "(n ?? 0) < 2"), count("n"), echo("m"), echo("aside"), echo("out")],
        [*WHILE, "n -> m", "m -> L", 'm -> aside {"condition": "n === 1 ? x.y[0] : true"}'],
        {"status": "failed", "failure": "node 'm': ", "steps": ["a", "aside", "m", "m:2", "n", "n:2", "out"]},
    ),
    Sentence(
        "a loop after a loop",
        [const("a", 5), loop("L", "(n ?? 0) < 2"), count("n"), loop("M", "(m ?? 0) < 2"), count("m", "m"), echo("out")],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            "n -> L",
            "L -> M",
            'M -> m {"action": "continue"}',
            "m -> M",
            "M -> out",
        ],
        {"value": 2, "steps": ["a", "m", "m:2", "n", "n:2", "out"]},
    ),
    Sentence(
        "a loop may begin with the body of a loop within it",
        [const("a", 5), loop("L", "(n ?? 0) < 5"), loop("M", "n % 3 !== 0"), count("n"), echo("out")],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            "n -> M",
            'M -> n {"action": "continue"}',
            'M -> L {"action": "break"}',
            'L -> out {"action": "break"}',
        ],
        {"value": 6, "steps": ["a", *(f"n:{i}" if i > 1 else "n" for i in (1, 2, 3, 4, 5, 6)), "out"]},
    ),
    Sentence(
        "a transform on the way out that cannot be computed fails the loop",
        [const("a", 5), loop("L", "false"), count("n"), echo("out"), echo("b")],
        [*WHILE[:3], 'L -> out {"action": "break", "transform": "x.y[0]"}'],
        {"status": "failed", "failure": "node 'L': ", "steps": ["a", "b"]},
    ),
    Sentence(
        "an edge from outside may lead into the body of a loop within",
        [
            *(const("a", 5), const("x", 9), loop("L", "(n ?? 0) < 2"), count("n"), loop("M", "(m ?? 0) < n * 2")),
            *(count("m", "m"), echo("e", inputs={"x": "x", "m": "m"}), echo("out")),
        ],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            "n -> M",
            'M -> m {"action": "continue"}',
            "m -> e",
            "x -> e",
            "e -> M",
            "M -> L",
            "L -> out",
        ],
        {"value": {"x": 9, "m": 4}, "outputs": {"m": 4}},
    ),
    Sentence(
        "a loop may wait",
        [const("a", 5), loop("L", "(w ?? 0) < 3"), {"id": "w", "uses": "wait"}, echo("out")],
        ["a -> L", 'L -> w {"action": "continue"}', "w -> L", "L -> out"],
        {"value": 3},
        script={"w": [{"output": 1}, {"output": 2}, {"output": 3}]},
    ),
    Sentence(
        "a batch in a loop has new items each time",
        [
            const("a", 5),
            loop("L", "(n ?? 0) < 2"),
            count("n"),
            {
                "id": "s_scatter",
                "uses": "batch-scatter",
                "inputs": "list",
                "params": {"workerUsesKey": "echo", "gatherNodeId": "s_gather"},
            },
            {"id": "s_gather", "uses": "batch-gather", "params": {"gatherNodeId": "s_gather"}},
            echo("out"),
        ],
        [
            "a -> L",
            'L -> n {"action": "continue"}',
            "n -> s_scatter",
            "s_scatter -> s_gather",
            "s_gather -> L",
            "L -> out",
        ],
        {"value": [7], "steps": ["a", "n", "n:2", "out", "s:2[0]", "s[0]"]},
        input={"list": [7]},
    ),
    Sentence(
        "a fallback with edges into it is an ordinary node of the loop of what it serves",
        [
            const("a", 5),
            loop("L", "(n ?? 0) < 2"),
            count("n"),
            const("b", 1, config={"fallback": "f"}),
            echo("f"),
            echo("out"),
        ],
        ["a -> L", 'L -> n {"action": "continue"}', "n -> b", "n -> f", "b -> L", "L -> out"],
        {"outputs": {"f": 2, "out": 1}, "steps": ["a", "b", "b:2", "f", "f:2", "n", "n:2", "out"]},
    ),
    Sentence(
        "a fallback in a loop serves each iteration",
        [const("a", 5), loop("L", "(n ?? 0) < 2"), count("n"), fail("b", fallback="f"), echo("f"), echo("out")],
        ["a -> L", 'L -> n {"action": "continue"}', "n -> b", "b -> L", "L -> out"],
        {"value": 2, "steps": ["a", "b", "b:2", "f", "f:2", "n", "n:2", "out"]},
    ),
]


def subflow(**params: Any) -> dict[str, Any]:
    return {"id": "s", "uses": "subflow", "params": {"blueprintId": "child", **params}}


SUBFLOWS = [
    Sentence(
        "a subflow without mappings gets its node's input, and gives its result",
        [const("a", 5), subflow(), echo("b")],
        ["a -> s", "s -> b"],
        {"value": 5, "steps": ["a", "b", "s/x"]},
        blueprints={"child": blueprint("child", [echo("x")])},
    ),
    Sentence(
        "an input that is an object is the subflow's state",
        [const("a", {"k": 5}), subflow()],
        ["a -> s"],
        {"value": {"k": 5}},
        blueprints={"child": blueprint("child", [{"id": "x", "uses": "read", "params": {"keys": ["k"]}}])},
    ),
    Sentence(
        "a subflow with inputs sees those, and nothing else",
        [const("a", 5), subflow(inputs={"p": "a", "q": "t"})],
        ["a -> s"],
        {"value": {"a": None, "p": 5, "q": 2, "t": None}},
        input={"t": 2},
        blueprints={
            "child": blueprint("child", [{"id": "x", "uses": "read", "params": {"keys": ["a", "p", "q", "t"]}}])
        },
    ),
    Sentence(
        "the outputs of a subflow are written to the state, and are its node's output",
        [subflow(outputs={"k": "x", "l": "n"}), {"id": "r", "uses": "read", "params": {"keys": ["k", "l", "n"]}}],
        ["s -> r"],
        {"value": {"k": 7, "l": 1, "n": None}, "outputs": {"s": {"k": 7, "l": 1}}},
        blueprints={"child": blueprint("child", [const("x", 7), count("c")])},
    ),
    Sentence(
        "what a subflow writes is not the parent's",
        [subflow()],
        [],
        {"value": 1, "state": {"n": None}},
        blueprints={"child": blueprint("child", [count("c")])},
    ),
    Sentence(
        "a subflow that fails fails its node",
        [{**subflow(), "config": {"fallback": "f"}}, const("f", 3), echo("b")],
        ["s -> b"],
        {"value": 3, "steps": ["b", "f", "s/x"]},
        blueprints={"child": blueprint("child", [fail("x")])},
    ),
    Sentence(
        "the failure of a subflow names the node inside",
        [subflow()],
        [],
        {"status": "failed", "failure": "node 's/x': on purpose"},
        blueprints={"child": blueprint("child", [fail("x")])},
    ),
    Sentence(
        "a subflow may wait, more than once",
        [subflow(), echo("b")],
        ["s -> b"],
        {"value": 2},
        blueprints={
            "child": blueprint("child", [{"id": "v", "uses": "wait"}, {"id": "w", "uses": "wait"}], ["v -> w"])
        },
        script={"child/v": [{"output": 1}], "child/w": [{"output": 2}]},
    ),
    Sentence(
        "a subflow that is not there fails its node",
        [subflow(), const("a", 1)],
        [],
        {"status": "failed", "failure": "there is no such blueprint", "steps": ["a"]},
    ),
    Sentence(
        "a subflow in a subflow in a loop",
        [const("a", 5), loop("L", "(n ?? 0) < 2"), count("n"), subflow(), echo("out")],
        ["a -> L", 'L -> n {"action": "continue"}', "n -> s", "s -> L", "L -> out"],
        {"value": 2, "steps": ["a", "n", "n:2", "out", "s/i/x", "s:2/i/x"]},
        blueprints={
            "child": blueprint("child", [{"id": "i", "uses": "subflow", "params": {"blueprintId": "inner"}}]),
            "inner": blueprint("inner", [echo("x")]),
        },
    ),
    Sentence(
        "a subflow's metadata.output is its result",
        [subflow()],
        [],
        {"value": 2},
        blueprints={"child": blueprint("child", [const("x", 1), const("y", 2)], (), {"output": "y"})},
    ),
]

SENTENCES = [*LOOPS, *SUBFLOWS]
