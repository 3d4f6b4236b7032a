"""Functions as blueprints: each kind of statement does what it does in the function."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from stepwell import Blueprint, Context, Flow, FlowError, flow, step
from stepwell.authoring.flows import compile_flow
from tests.authoring import flow_steps
from tests.authoring.flow_runs import Ended, function_of, run_document, same
from tests.authoring.flow_steps import add, doubled, first, inc, many, risky, seven, size

EARLY = 2
NAMES = vars(flow_steps)


def ids(fn: Any) -> list[str]:
    return [node["id"] for node in compile_flow(fn).document["nodes"]]


# --- the document


async def chain(n: int) -> int:
    a = await inc(n)
    b = await add(a, b=n)
    return await inc(b)


def test_steps_in_a_row_become_nodes_in_a_row() -> None:
    document = compile_flow(chain).document
    assert document == {
        "id": "chain",
        "nodes": [
            {"id": "start", "uses": "set", "params": {"values": {"n": "input"}}},
            {"id": "inc", "uses": "inc", "inputs": "n"},
            {"id": "add", "uses": "add", "inputs": {"a": "inc", "b": "n"}},
            {"id": "inc_2", "uses": "inc", "inputs": "add"},
            {"id": "end", "uses": "join"},
        ],
        "edges": [
            {"source": "start", "target": "inc"},
            {"source": "inc", "target": "add"},
            {"source": "add", "target": "inc_2"},
            {"source": "inc_2", "target": "end"},
        ],
        "metadata": {"output": "end"},
    }
    assert same(chain, 3) == Ended(8, steps=("inc", "add", "inc_2"))


async def decided(n: int) -> str:
    if n > 3:
        return "large"
    m = await inc(n)
    if m % 2:
        kind = "odd"
    elif m == 2:
        kind = "two"
    else:
        kind = "even"
    return f"{kind} {m}"


def test_branches_become_conditions_on_edges() -> None:
    conditions = {edge.get("condition") for edge in compile_flow(decided).document["edges"]}
    assert {"n > 3", "!(n > 3)", "mod(inc, 2)", "inc === 2"} <= conditions
    assert same(decided, 9, 0, 1, 3).value == "even 4"


def test_every_node_has_its_line() -> None:
    compiled = compile_flow(chain)
    first_line = chain.__code__.co_firstlineno
    assert compiled.file == __file__
    assert {id: line - first_line for id, line in compiled.lines.items()} == {
        "start": 0,
        "inc": 1,
        "add": 2,
        "inc_2": 3,
        "end": 3,
    }


async def empty() -> None:
    """Nothing but this."""


def test_a_function_without_statements_gives_none() -> None:
    assert same(empty) == Ended(None)


async def spins() -> None:
    while True:
        await inc(1)


def test_a_function_that_never_ends_has_no_result() -> None:
    assert "output" not in compile_flow(spins).document["metadata"]


# --- names


async def named_badly(input: int) -> list[Any]:
    context, result, new, _hidden, größe, items = input, input + 1, input + 2, input + 3, input + 4, [input]
    start = await inc(_hidden)
    end = await inc(größe)
    typeof = await inc(new)
    typeof = typeof + 1
    value = await add(_hidden, größe)
    items.append(context + result)
    return [context, result, new, _hidden, größe, start, end, typeof, items, value, [_hidden + 1 for _hidden in items]]


def test_names_that_mean_something_in_expressions_are_other_keys() -> None:
    same(named_badly, 1)


def test_variables_and_nodes_do_not_hide_each_other() -> None:
    async def fn(n: int) -> list[int]:
        add_2 = n
        size = await inc(n)
        other = await add(n)
        another = await add(size, add_2)
        return [add_2, size, other, another]

    same(fn, 5)


def test_names_of_the_module_and_of_functions_around_are_constants() -> None:
    factor, nested = 7, {"a": [1, None]}

    async def fn(n: int) -> Any:
        return [EARLY * n + factor, nested, nested["a"]]

    assert same(fn, 2).value == [11, {"a": [1, None]}, [1, None]]


def test_steps_are_found_in_modules_and_with_other_options() -> None:
    quick = inc.options(timeout="1s")

    async def fn(n: int) -> int:
        return await flow_steps.inc(await quick(n)) + flow_steps.calls.count  # type: ignore[operator]

    with pytest.raises(FlowError, match="cannot stand in an expression"):
        compile_flow(fn)

    async def right(n: int) -> int:
        return await flow_steps.inc(await quick(n))

    assert same(right, 1).value == 3
    assert compile_flow(right).implementations == {"inc": inc, "inc_2": quick}


def test_steps_called_like_built_in_nodes_are_steps() -> None:
    @step
    async def sleep(x: int) -> int:
        return x + 1

    @step
    async def join(x: int, /) -> int:
        return x + 2

    async def fn(n: int) -> int:
        await asyncio.sleep(0)
        return await sleep(await join(n))

    assert same(fn, 1).value == 4
    assert set(compile_flow(fn).implementations) == {"sleep_2", "join_2"}


def test_two_steps_of_one_name_are_two_implementations() -> None:
    @step(name="inc")
    async def other(x: int) -> int:
        return x + 100

    async def fn(n: int) -> int:
        return await inc(await other(n))

    assert same(fn, 1).value == 102
    assert set(compile_flow(fn).implementations) == {"inc", "inc_2"}


# --- variables


async def swapped(n: int) -> list[int]:
    a, b = n, n + 1
    a, b = b, a
    [a, c] = await many(2)
    a += b
    d: int = a
    d -= 1
    return [a, b, c, d]


def test_unpacking_takes_all_values_first() -> None:
    assert same(swapped, 4).value == [4, 4, 1, 3]


async def grows(n: int) -> list[Any]:
    found = [n]
    for x in range(n):
        found.append(await inc(x))
        found.extend([x, "end"])
        found += [None]
    return found


def test_a_list_grows() -> None:
    same(grows, 0, 2)


def test_a_list_that_only_steps_and_results_see_may_grow() -> None:
    async def fn(n: int) -> Any:
        found = sorted(await many(3))
        found.append(n)
        total = await first(found)
        if found:
            found.append(len(found) + found[0])
        copied = list(found)
        copied.append(total)
        return {"found": found, "copied": copied}

    same(fn, 2)


# --- loops


async def searched(n: int) -> str:
    for x in await many(n):
        if x == 2:
            break
        if await inc(x) > 99:
            continue
    else:
        return "not found"
    return f"found {x}"


def test_a_loop_has_an_else() -> None:
    assert same(searched, 1, 3).value == "found 2"


async def nested(n: int) -> list[Any]:
    out = []
    for i in range(n):
        j = 0
        while True:
            j += 1
            if j == 2 and i == 1:
                out.append("skip")
                break
            if j > 2:
                break
            for k in [10, 20, 30]:
                if k == 20:
                    continue
                if i == 2 and k == 30:
                    return out
                out.append(await add(i, k))
        else:
            out.append("never")
    return out


def test_jumps_out_of_loops_within_loops() -> None:
    same(nested, 0, 1, 2, 3)


@pytest.mark.parametrize(
    "body",
    [
        "while n > 1:\n        return await inc(n)\n    return n",
        "while n > 1:\n        n += 1\n        break\n    return n",
        "while n > 1:\n        raise ValueError('no')\n    else:\n        n = 9\n    return n",
        "while True:\n        n = await inc(n)\n        break\n    return n",
        "for x in [n, 2]:\n        if x > 1:\n            return x\n        break\n    return 0",
        "while n:\n        while n > 1:\n            break\n        else:\n            return 1\n        n = 0",
        "while n > 0:\n        for x in [1]:\n            break\n        n -= 1\n    return n",
        "while False:\n        n = 4\n    else:\n        n += 1\n    return n",
        "while n:\n        n -= 1\n        if n == 1:\n            continue\n        await inc(n)\n    return n",
        "while await inc(n) < 3:\n        n += 1\n    else:\n        n += 10\n    return n",
        "while n < 5 and not await inc(n) > 2:\n        n += 1\n    return n",
        "for x in range(4, n, -2):\n        n += x\n    return n",
        "for x in range(n, n):\n        n += x\n    return [n]",
        "for i, (a, b) in enumerate([[1, 2], [3, n]], n):\n        n += i * a * b\n    return n",
        "for pair in enumerate([5, 6]):\n        n += pair[0] * pair[1]\n    return n",
        "for k, v in {'a': 1, 'b': n}.items():\n        n += v + len(k)\n    return n",
        "for k in {'a': 1, 'b': 2}:\n        n += len(k)\n    return n",
        "for c in 'abc':\n        n += len(c)\n    return n",
        "for a, b in zip([1, 2, 3], range(n)):\n        n += a * b\n    return n",
        "for x in [1, 2]:\n        x = x + n\n        n += x\n    return n",
        "xs = [1, 2]\n    for x in xs:\n        xs = xs + [x]\n    return xs",
    ],
)
def test_a_loop_does_what_it_does_in_python(body: str) -> None:
    fn = function_of(f"async def flow(n: int) -> object:\n    {body}\n", NAMES)
    same(fn, 0, 1, 2, 3)


def test_a_loop_that_only_computes_is_bounded() -> None:
    async def fn(n: int) -> int:
        i = 0
        while i < n:
            i += 1
        for x in range(n):
            i += await inc(x)
        return i

    loops = [node for node in compile_flow(fn).document["nodes"] if node["uses"] == "loop-controller"]
    assert [loop["params"]["maxIterations"] for loop in loops] == [100_000, 1_000_000_000]
    assert same(fn, 20).value == 230


# --- side by side


async def pairs(n: int) -> list[Any]:
    a, b = await asyncio.gather(inc(n), add(n, await inc(n)))
    both = await asyncio.gather(*[doubled(n), asyncio.sleep(0)])
    plain = await asyncio.gather(*(inc(x) for x in range(n)))
    made = await asyncio.gather(*[add(x, b=n) for x in [3, 4] if x > 3])
    keyed = await asyncio.gather(*(add(y, y * x) for x, y in enumerate([7, 8])))
    return [a, b, both, plain, made, keyed]


def test_calls_side_by_side_meet_again() -> None:
    done = same(pairs, 0, 2)
    assert {"inc[0]", "inc_3[1]"} & set(done.steps)


async def mapped(ctx: Context, n: int) -> list[Any]:
    limited = await ctx.map(inc, range(n), concurrency=2)
    plain = await ctx.map(inc, limited)
    keyed = await ctx.map(add, [7, 8])
    return [limited, plain, keyed]


def test_ctx_map_is_a_batch() -> None:
    compiled = compile_flow(mapped)
    assert run_document(compiled, 3).value == [[1, 2, 3], [2, 3, 4], [8, 9]]
    nodes = {node["id"]: node for node in compiled.document["nodes"]}
    assert nodes["inc_scatter"]["params"] == {"workerUsesKey": "inc", "gatherNodeId": "inc_gather", "concurrency": 2}


async def failing_pairs(n: int) -> list[Any]:
    out: list[Any] = []
    a, b = 0, 0
    for x in range(n):
        try:
            a, b = await asyncio.gather(risky(x), inc(x))
        except ValueError as error:
            out.append(str(error))
        out.append([a, b])
    return out


def test_a_failure_side_by_side_leaves_the_variables_alone() -> None:
    same(failing_pairs, 4)


async def failing_batch(n: int) -> str:
    try:
        return str(await asyncio.gather(*(risky(x) for x in range(1, n))))
    except ValueError as error:
        return f"failed: {error}"


def test_the_text_of_a_failed_batch_is_that_of_its_item() -> None:
    assert same(failing_batch, 3, 4).value == "failed: no 3"


# --- calls


async def called(n: int) -> list[Any]:
    await asyncio.sleep(0)
    pause = await asyncio.sleep(0.001)
    total = await add(await inc(n), b=(await inc(n + 1)) * 2)
    short = n > 1 and total
    text = f"{await size(str(n))} of {await seven()}"
    chosen = await inc(n) if n else await add(1)
    if n > 1 and await inc(n) > 3 and await risky(n + 2) != 5:
        text += "!"
    if not (n or await inc(n) == 1):
        text += "?"
    return [pause, total, short, text, chosen, await doubled(n), [await inc(x) for x in range(n)]]


def test_calls_may_stand_in_expressions() -> None:
    same(called, 0, 1, 2, 4)


def test_a_step_may_leave_out_all_arguments() -> None:
    @step
    async def defaulted(x: int = 5) -> int:
        return x

    async def fn(n: int) -> list[int]:
        return [n, await defaulted(), await defaulted(n)]

    assert same(fn, 1).value == [1, 5, 1]


@dataclass
class Order:
    price: int
    count: int = 1
    note: str | None = None


@flow
async def priced(order: Order) -> Order:
    if order.note is not None and len(order.note) > 3:
        return Order(order.price, note=order.note[:3])
    return Order(order.price * order.count, 1)


@flow(id="the-sum")
async def total(orders: list[Order]) -> int:
    found = [await priced(order) for order in orders]
    return sum(order.price for order in found)


def test_flows_run_flows() -> None:
    orders = [Order(3, 2), Order(4, note="abcd")]
    assert same(total.fn, orders).value == 10
    assert asyncio.run(total(orders)) == 10
    assert set(total.subflows) == {"priced"}


def test_a_flow_is_a_blueprint() -> None:
    assert isinstance(total, Flow)
    assert isinstance(total, Blueprint)
    assert (total.id, total.input, total.output) == ("the-sum", list[Order], int)
    assert repr(total) == "<flow the-sum>"
    assert total.__wrapped__ is total.fn
    assert total.document["id"] == "the-sum"
    assert [finding for finding in total.lint() if finding.severity == "error"] == []
    assert total.to_mermaid().startswith("flowchart TD")


def test_options_of_a_flow_are_those_of_a_blueprint() -> None:
    @flow(version="2", concurrency=3)
    async def made() -> int:
        return 1

    assert made.spec.version == "2"
    assert made.document["metadata"] == {"version": "2", "concurrency": 3, "output": "end"}
    assert repr(made) == "<flow made v2>"
    assert made.input is type(None)


def test_a_subflow_without_an_input_is_called_without_one() -> None:
    @flow
    async def bare() -> int:
        return await seven()

    async def fn(n: int) -> int:
        return n + await bare()

    assert same(fn, 1).value == 8
