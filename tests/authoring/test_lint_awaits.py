"""Coroutines that nobody awaits, and tasks that nobody holds."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from stepwell.authoring.lint import lint_source

HEAD = """
import asyncio
from stepwell import Context, Signal, step, workflow

@step
async def charge(order: int) -> int:
    return order

@workflow
async def child(ctx: Context, order: int) -> int:
    return order

async def helper() -> int:
    return 1

def decorated(fn): ...

@decorated
async def unknown() -> int: ...

async def generator():
    yield 1
"""


def in_body(statements: str) -> list[str]:
    """The codes of what is found in a workflow of these statements."""
    body = indent(dedent(statements).strip(), "    ")
    source = f"{HEAD}\n@workflow\nasync def main(ctx: Context, order: int) -> None:\n{body}\n"
    return [finding.code for finding in lint_source(source)]


@pytest.mark.parametrize(
    "statement",
    [
        "return charge(order)",
        "return child(order)",
        "return helper()",
        "return ctx.sleep(1)",
        "receipt = charge(order)",
        "receipt: int = charge(order)",
        "_ = helper()",
        "receipt = charge(order)\nctx.log.info('%s', receipt.id)",
        "receipt = charge(order)\nif receipt:\n    await charge(2)",
        "total = charge(1) + 1",
        "total = 1 - (await charge(1)) * helper()",
        "name = charge(order).name",
        "first = child(order)[0]",
        "if charge(order) > 5:\n    await charge(2)",
        "if not charge(order): return",
        "while helper(): await charge(1)",
        "text = f'{charge(order)}'",
        "one = 1 if helper() else 2",
        "handle = await ctx.start(child, order)\nhandle.result()",
        "handle = await ctx.start(child, order)\nhandle.send(Signal('x', int), 1)",
        "async def inner():\n    charge(1)\nawait inner()",
        "asyncio.gather(charge(1), charge(2))",
        "asyncio.wait_for(charge(1), 5)",
        "return asyncio.gather(charge(1))",
    ],
)
def test_a_coroutine_that_is_lost_is_found(statement: str) -> None:
    assert in_body(statement) == ["SW202"]


@pytest.mark.parametrize(
    "statement",
    [
        "return await charge(order)",
        "receipt = charge(order)\nawait receipt",
        "receipt = charge(order)\nawait asyncio.gather(receipt, charge(2))",
        "first, second = charge(1), charge(2)\nawait asyncio.gather(first, second)",
        "calls = [charge(n) for n in range(3)]\nawait asyncio.gather(*calls)",
        "call = charge(order)\nif call is not None:\n    await call",
        "call = charge(order)\ncalls = [call]\nawait asyncio.gather(*calls)",
        "call = charge(order)\nasync def inner():\n    await call\nawait inner()",
        "call = helper() if order else charge(order)\nawait call",
        "charge(order).close()",
        "both = asyncio.gather(charge(1), charge(2))\nboth.cancel()",
        "both = asyncio.gather(charge(1), charge(2))\nawait asyncio.wait([both])",
        "task = asyncio.create_task(charge(order))\nawait task",
        "async with asyncio.TaskGroup() as group:\n    group.create_task(charge(order))",
        "async with asyncio.timeout(5):\n    await charge(1)",
        "await ctx.map(lambda n: charge(n), [1, 2])",
        "async def one(n):\n    return charge(n)\nawait (await one(1))",
        "def one(n):\n    return charge(n)\nawait one(1)",
        "unknown()",
        "generator()",
        "async for n in ctx.map(charge, [1]): pass",
        "results = ctx.map(charge, [1])\nasync for n in results: pass",
        "handle = await ctx.start(child, order)\nhandle.id",
    ],
)
def test_a_coroutine_that_is_awaited_somewhere_is_left_alone(statement: str) -> None:
    assert in_body(statement) == []


def test_the_finding_says_what_to_write() -> None:
    (finding,) = lint_source(f"{HEAD}\n@workflow\nasync def main(ctx: Context) -> int:\n    return charge(1)\n")

    assert finding.message == ("step charge is called without `await`, so it does not run: write `await charge(...)`")


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("asyncio.create_task(charge(order))", ["SW302"]),
        ("asyncio.ensure_future(charge(order))", ["SW302"]),
        ("task = asyncio.create_task(charge(order))\nawait task", []),
        ("tasks = [asyncio.create_task(charge(n)) for n in [1]]\nawait asyncio.wait(tasks)", []),
        ("async with asyncio.TaskGroup() as group:\n    group.create_task(charge(1))", []),
    ],
)
def test_a_task_that_nobody_holds_is_found(statement: str, codes: list[str]) -> None:
    assert in_body(statement) == codes


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("try:\n    await charge(1)\nexcept asyncio.CancelledError:\n    pass", ["SW304"]),
        (
            "while order:\n    try:\n        await ctx.sleep(1)\n    except asyncio.CancelledError:\n        continue",
            ["SW304"],
        ),
        ("try:\n    await charge(1)\nexcept (ValueError, asyncio.CancelledError):\n    await charge(2)", ["SW304"]),
        ("try:\n    await charge(1)\nexcept asyncio.CancelledError:\n    await charge(2)\n    raise", []),
        ("try:\n    await charge(1)\nexcept asyncio.CancelledError:\n    return", []),
        (
            "task = asyncio.create_task(charge(1))\ntask.cancel()\n"
            "try:\n    await task\nexcept asyncio.CancelledError:\n    pass",
            [],
        ),
        ("try:\n    await charge(1)\nexcept Exception:\n    pass", []),
    ],
)
def test_losing_a_cancel_of_the_run_is_found(statement: str, codes: list[str]) -> None:
    assert in_body(statement) == codes
