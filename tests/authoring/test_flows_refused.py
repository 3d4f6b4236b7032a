"""What cannot be compiled is refused: where it is, what it is, and what to write instead."""

from __future__ import annotations

import asyncio
import functools
import textwrap
from pathlib import Path
from typing import Any

import pytest

from stepwell import Context, DefinitionError, Event, FlowError, NotInWorkflowError, Signal, StepError, flow, step
from stepwell.authoring.flows import compile_flow
from tests.authoring import flow_steps
from tests.authoring.flow_runs import function_of
from tests.authoring.flow_steps import inc

ok = Signal("ok", bool)
news = Event("news", int)
pause = "5s"


@step
async def many_arguments(*args: int, **more: int) -> int:
    return sum(args)


@step
async def pair(a: int, b: int, /) -> int:
    return a + b


@flow(id="doubled")
async def other_doubled(n: int) -> int:
    return n


class Odd(Exception):
    def __str__(self) -> str:
        return "odd"


NAMES: dict[str, Any] = {
    **vars(flow_steps),
    "StepError": StepError,
    **{name: value for name, value in globals().items() if not name.startswith("__")},
}


def refusal(body: str, head: str = "async def flow(ctx, n: int) -> object:") -> FlowError:
    text = f"{head}\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    with pytest.raises(FlowError) as caught:
        compile_flow(function_of(text, NAMES))
    return caught.value


STATEMENTS = [
    ("with open('x') as f:\n    pass", "`with` is not supported", "do it in a step"),
    ("async with ctx.saga():\n    pass", "`async with` is not supported", "@workflow"),
    ("async for x in n:\n    pass", "`async for` is not supported", "@workflow"),
    ("def inner():\n    pass", "`def` is not supported", "@workflow"),
    ("class Inner:\n    pass", "`class` is not supported", "@workflow"),
    ("async def inner():\n    pass", "`async def` is not supported", "@workflow"),
    ("from os import path", "`import` is not supported", "@workflow"),
    ("import os", "`import` is not supported", "@workflow"),
    ("global x", "`global` is not supported", "@workflow"),
    ("del n", "`del` is not supported", "@workflow"),
    ("match n:\n    case 1:\n        pass", "`match` is not supported", "@workflow"),
    ("try:\n    pass\nexcept* ValueError:\n    pass", "`except*` is not supported", "@workflow"),
    ("a = b = n", "several targets", "one line for each"),
    ("n.x = 1", "setting `n.x`", "make a new value in a step"),
    ("n['x'] = 1", "setting `n['x']`", "make a new value in a step"),
    ("n.x += 1", "setting `n.x`", "make a new value in a step"),
    ("n[0] += 1", "setting `n[0]`", "make a new value in a step"),
    ("a, b.c = n, n", "this target", "unpack to names"),
    ("a, b = n, n, n", "3 values for 2 names", "as many as there are"),
    ("n + 1", "this has no effect", "leave it out"),
    ("print(n)", "this has no effect", "leave it out"),
    ("inc(n)", "this call is never awaited", "write `await inc(n)`"),
    ("ctx.receive(ok)", "this call is never awaited", "write `await ctx.receive(ok)`"),
    ("doubled(n)", "this call is never awaited", "write `await doubled(n)`"),
    ("if n:\n    x = 1\nreturn x", "x may not be set here", "set x on every way"),
    ("for x in [1]:\n    pass\nreturn x", "x may not be set here", "set x on every way"),
    ("while n:\n    x = 1\nreturn x", "x may not be set here", "set x on every way"),
    ("try:\n    x = await inc(n)\nexcept ValueError:\n    pass\nreturn x", "x may not be set here", "set x on"),
    ("x += 1", "x may not be set here", "set x on every way"),
    ("x.append(1)\nx = []", "x may not be set here", "set x on every way"),
    ("return [x for x in [1]] + [x]", "the name 'x' is not defined", "define it"),
]

LISTS = [
    ("a = [1]\nb = a\na.append(n)", "a may be held under another name since line 3", "a = a + [...]"),
    ("a = [1]\nb = [a]\na.append(n)", "a may be held under another name since line 3", "a = a + [...]"),
    ("a = [1]\nb = {'a': a}\na += [2]", "a may be held under another name since line 3", "a = a + [...]"),
    ("a = [1]\nb = a if n else []\na.append(n)", "a may be held", "a = a + [...]"),
    ("a = [1]\nb = n and a\na.append(n)", "a may be held", "a = a + [...]"),
    ("a = [1]\nb = []\nb.append(a)\na.append(n)", "a may be held", "a = a + [...]"),
    ("a = [1]\nb = [a for x in a]\na.append(n)", "a may be held", "a = a + [...]"),
    ("a = [1]\nb = max(a, [2])\na.append(n)", "a may be held", "a = a + [...]"),
    ("a = n\na.append(n)", "a may be held", "a = a + [...]"),
    ("a, b = [1], n\nb.append(n)", "b may be held", "b = b + [...]"),
    ("a = n.items\na.append(n)", "a may be held", "a = a + [...]"),
    ("for a in [[1]]:\n    a.append(n)", "a may be held", "a = a + [...]"),
    ("a = [1]\nfor x in a:\n    a.append(x)", "a may be held", "a = a + [...]"),
    ("a = [1]\nfor x in a:\n    a += [x]", "a may be held", "a = a + [...]"),
    ("NAMES.append(n)", "NAMES is no variable", "change it in a step"),
    ("n.items.append(n)", "setting `n.items.append`", "make a new value"),
    ("n.append(1, 2)", "setting `n.append`", "make a new value"),
]

CALLS = [
    ("await n", "`await n` is not supported", "await a @step"),
    ("await asyncio.wait_for(inc(n), 1)", "`await asyncio.wait_for(inc(n), 1)` is not supported", "await a @step"),
    ("await unknown(n)", "`await unknown(n)` is not supported", "await a @step"),
    ("await ctx.start(doubled, n)", "is not supported here", "await a @step"),
    ("return ctx.now()", "`ctx.now` is not supported", "there are ctx.receive()"),
    ("return ctx.run_id", "`ctx.run_id` is not supported", "there are ctx.receive()"),
    ("return ctx", "`ctx` is no value", "there are ctx.receive()"),
    ("await inc()", "inc(): missing a required argument: 'x'", "it is inc(x: int) -> int"),
    ("await inc(n, n)", "inc(): too many positional arguments", "it is inc("),
    ("await inc(y=n)", "inc(): missing a required argument", "it is inc("),
    ("await inc(*n)", "`*` in a call", "name the arguments"),
    ("await inc(**n)", "`*` in a call", "name the arguments"),
    ("await many_arguments(n)", "step many_arguments takes arguments without names", "parameters with names"),
    ("await pair(n, n)", "step pair takes arguments without names", "parameters with names"),
    ("await doubled(n)\nawait other_doubled(n)", "two flows are called 'doubled'", "give one of them an id="),
    ("await doubled(n, n)", "doubled takes one input", "give it one value"),
    ("await inc.options(timeout='1s')(n)", "is not supported here", "await a @step"),
    ("return n and await inc(n)", "`await` in a part of an expression", "write it as an `if`"),
    ("return 1 < n < await inc(n)", "`await` in a part of an expression", "write it as an `if`"),
    ("await asyncio.sleep(n)", "how long to sleep is not known before", "a constant of the module"),
    ("await asyncio.sleep('1s')", "asyncio.sleep() takes seconds", "use ctx.sleep()"),
    ("await asyncio.sleep()", "this takes one argument", "how long"),
    ("await asyncio.sleep(-1)", "how long to sleep is -1, which is no duration", "give seconds"),
    ("await ctx.sleep('soon')", "is 'soon'", "give seconds"),
    ("await ctx.sleep(ok)", "how long to sleep", "give seconds"),
    ("await ctx.receive()", "this call is not supported", "write ctx.receive(signal"),
    ("await ctx.receive(ok, where={})", "this call is not supported", "write ctx.receive(signal"),
    ("await ctx.receive(n)", "what to receive is not known before", "constant of the module"),
    ("await ctx.receive(pause)", "neither a Signal nor an Event", "give the Signal"),
    ("await ctx.receive(ok, timeout=n)", "the timeout is not known before", "constant of the module"),
    ("await ctx.receive(ok, timeout='soon')", "is 'soon'", "give seconds"),
    ("await asyncio.gather()", "not supported in asyncio.gather()", "write asyncio.gather("),
    ("await asyncio.gather(*n)", "not supported in asyncio.gather()", "write asyncio.gather("),
    ("await asyncio.gather(inc(n), return_exceptions=True)", "keywords of asyncio.gather()", "leave them out"),
    ("await asyncio.gather(*(x for x in n))", "this is not the call of a step", "write asyncio.gather("),
    ("await asyncio.gather(*(doubled(x) for x in n))", "this is not the call of a step", "write asyncio.gather("),
    ("await ctx.map(doubled, [n])", "this call is not supported", "ctx.map(step, items"),
    ("await ctx.map(inc, [n], settle=True)", "this call is not supported", "ctx.map(step, items"),
    ("await ctx.map(inc, [n], concurrency=n)", "concurrency is not known before", "constant of the module"),
]

FAILURES = [
    ("raise n", "this is not supported", 'raise SomeError("text")'),
    ("raise", "there is nothing to raise again", "name the exception"),
    ("raise ValueError(1, 2)", "this is not supported", 'raise SomeError("text")'),
    ("raise ValueError(text=n)", "this is not supported", 'raise SomeError("text")'),
    ("raise Odd(n)", "the text of Odd is its own affair", "raise it in a step"),
    ("raise StepError('x')", "StepError cannot be made here", "raise it in a step"),
    ("raise asyncio.CancelledError", "this is not supported", 'raise SomeError("text")'),
    ("try:\n    await inc(n)\nexcept StepError:\n    pass", "a flow has no StepError", "write `except Exception`"),
    ("try:\n    await inc(n)\nexcept asyncio.CancelledError:\n    pass", "this cannot be caught", "steps raise"),
    ("try:\n    await inc(n)\nexcept n:\n    pass", "this cannot be caught", "steps raise"),
    ("try:\n    await inc(n)\nexcept Exception as e:\n    return e", "a caught error is no value", "use str(e)"),
    ("try:\n    n = n['x']\nexcept KeyError:\n    pass", "this may fail, and `except KeyError`", "`except Exception`"),
    ("try:\n    n = 1 // n\nexcept ArithmeticError:\n    pass", "this may fail", "compute it in a step"),
    ("try:\n    if n['x']:\n        pass\nexcept LookupError:\n    pass", "this may fail", "compute it in a step"),
    (
        "try:\n    try:\n        n = n['x']\n    except ValueError:\n        pass\nexcept LookupError:\n    pass",
        "this may fail, and `except LookupError`",
        "`except Exception`",
    ),
]


@pytest.mark.parametrize(("body", "what", "cure"), [*STATEMENTS, *LISTS, *CALLS, *FAILURES])
def test_a_refusal_says_what_and_what_to_write_instead(body: str, what: str, cure: str) -> None:
    message = str(refusal(body))
    assert what in message.split("\n")[0]
    assert cure in message.split("\n")[-1]


def test_a_refusal_shows_the_line_and_the_column() -> None:
    error = refusal("x = 'é' + await wrong(n)")
    assert (error.line, error.column) == (2, 21)
    lines = str(error).split("\n")
    assert lines[0].startswith(f"{error.file}:2:21: ")
    assert lines[1] == "        x = 'é' + await wrong(n)"
    assert lines[2].index("^") == lines[1].index("wrong")
    assert isinstance(error, DefinitionError)


def test_the_line_of_a_refusal_is_that_of_the_file() -> None:
    with pytest.raises(FlowError) as caught:

        @flow
        async def fn(n: int) -> int:
            return n @ 2  # type: ignore[operator, no-any-return]

    text = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert caught.value.file == __file__
    assert "return n @ 2" in text[caught.value.line - 1]
    assert text[caught.value.line - 1][caught.value.column - 1 :].startswith("n @ 2")


@pytest.mark.parametrize(
    "head",
    [
        "async def flow(a, b):",
        "async def flow(ctx, a, b):",
        "async def flow(*args):",
        "async def flow(**more):",
        "async def flow(a=1):",
        "async def flow(*, a):",
        "async def flow(self):",
    ],
)
def test_a_flow_takes_one_input(head: str) -> None:
    message = str(refusal("pass", head))
    assert "flow flow takes (" in message
    assert "one input without a default" in message


def test_a_context_is_known_by_its_type_too() -> None:
    async def fn(run: Context, n: int) -> int:
        await run.sleep("1s")
        return n

    assert "sleep" in {node["id"] for node in compile_flow(fn).document["nodes"]}


def test_a_flow_is_an_async_function() -> None:
    def fn(n: int) -> int:
        return n

    with pytest.raises(FlowError, match="flow fn is not an `async def`"):
        flow(fn)  # type: ignore[call-overload]


def test_a_flow_needs_its_source() -> None:
    space: dict[str, Any] = {}
    exec("async def fn(n):\n    return n", space)  # noqa: S102
    with pytest.raises(FlowError, match="the source of flow fn is not to be found"):
        compile_flow(space["fn"])


def test_a_flow_that_stands_among_other_things_is_not_read() -> None:
    text = "fns = [\n    1, (lambda: 0),\n]; \nasync def flow(n):\n    return n\n"
    assert compile_flow(function_of(text, {})).document["id"] == "flow"


def test_a_flow_does_not_grow_beyond_bounds() -> None:
    body = "await inc(n)"
    for _ in range(13):  # each `finally` is compiled for each way through it
        body = "try:\n    await inc(n)\nfinally:\n" + textwrap.indent(body, "    ")
    error = refusal(body)
    assert "more than 10,000 nodes" in str(error)
    assert "make parts of it flows of their own" in str(error)


def test_a_flow_with_a_context_is_not_called_plainly() -> None:
    @flow
    async def fn(ctx: Context, n: int) -> int:
        await ctx.sleep("1s")
        return n

    with pytest.raises(NotInWorkflowError, match="flow fn takes a context"):
        asyncio.run(fn(1))


def test_a_partial_is_no_flow() -> None:
    with pytest.raises(FlowError, match="is not an `async def`"):
        compile_flow(functools.partial(inc.fn))
