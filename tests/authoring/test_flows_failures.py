"""What fails in a flow is handled, passed on and cleaned up after as in the function."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.authoring.flows import compile_flow
from tests.authoring import flow_steps
from tests.authoring.flow_runs import function_of, same
from tests.authoring.flow_steps import inc, risky

NAMES = vars(flow_steps)


async def handled(n: int) -> list[Any]:
    out = []
    for x in range(n, n + 6):
        try:
            y = await risky(x)
            out.append(y)
            if y > 5:
                raise LookupError(f"{y} is too much")
        except ValueError as error:
            out.append(str(error))
        except (KeyError, IndexError):
            out.append("key")
        except LookupError as error:
            out.append(f"lookup: {error}")
            break
        else:
            out.append("fine")
        finally:
            out.append("and")
    return out


def test_handlers_ask_for_the_types_of_what_failed() -> None:
    same(handled, 1, 2, 6)


async def passed_on(n: int) -> str:
    try:
        try:
            await risky(n)
        except KeyError:
            return "key"
        finally:
            n += 1
    except ValueError as error:
        if n > 4:
            raise
        if n > 1:
            raise error
        return f"caught {error} {n}"
    return "fine"


def test_a_failure_that_nobody_names_goes_on_outwards() -> None:
    same(passed_on, 0, 1, 5)
    assert same(passed_on, 6).failure == ("ValueError", "node 'error': no 6")


async def cleaned(n: int) -> list[Any]:
    out: list[Any] = []
    for i in range(3):
        try:
            if n == 0:
                return ["early", await inc(i)]
            if n == 1:
                continue
            if n == 2:
                break
            if n == 3:
                raise ValueError("three")
            out.append(i)
        finally:
            try:
                out.append(await risky(n + 1))
            except ValueError:
                out.append("three")
    return out


def test_finally_runs_on_each_way_out() -> None:
    same(cleaned, 0, 1, 2, 4)
    assert same(cleaned, 3).failure is not None


OVERRIDDEN = """
async def flow(n: int) -> int:
    while True:
        try:
            await risky(n)
            return 1
        finally:
            if n > 2:
                break
            return 2
    return 3
"""


def test_what_finally_does_comes_before_what_was_on_its_way() -> None:
    assert same(function_of(OVERRIDDEN.lstrip(), NAMES), 0, 1, 3, 4).value == 3


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError",
        "raise ValueError()",
        "raise ValueError('no')",
        "raise ValueError(f'no {n}')",
        "raise ValueError(n) from None",
        "raise KeyError('a')",
        "assert n == 7",
        "assert n == 7, 'not seven'",
        "assert n == 7, f'not seven: {n}'",
        "await guarded(n)\n    return n",
        "return await guarded(await guarded(n))",
        "try:\n        raise KeyError('a')\n    except LookupError as e:\n        return str(e)",
        "try:\n        raise KeyError('a')\n    except ValueError as e:\n        return str(e)",
        "try:\n        await guarded(n)\n    except Exception as e:\n        raise ValueError('other') from e",
        "try:\n        n = 1 // n\n    except Exception:\n        n = 5\n    return n",
        "try:\n        if [1][n]:\n            n = 7\n    except:\n        n = 5\n    return n",
        "try:\n        return [1][n]\n    except Exception:\n        return 5",
        "try:\n        while [1][n]:\n            n += 1\n    except Exception:\n        return n",
        "try:\n        n = await inc([1][n])\n    except Exception:\n        return -1\n    return n",
        "try:\n        pass\n    except ValueError:\n        n = 4\n    else:\n        n += 1\n    return n",
        "try:\n        n += 1\n    finally:\n        n += await inc(n)\n    return n",
        "for x in [1, n]:\n        try:\n            await risky(x)\n        finally:\n            n = 4\n    return n",
    ],
)
def test_a_failure_is_what_it_is_in_python(body: str) -> None:
    fn = function_of(f"async def flow(n: int) -> object:\n    {body}\n", NAMES)
    same(fn, 0, 1, 2, 3)


def test_a_failed_node_that_was_caught_is_recovered_not_hidden() -> None:
    compiled = compile_flow(handled)
    nodes = {node["id"]: node for node in compiled.document["nodes"]}
    assert nodes["risky"]["config"] == {"fallback": "risky_failed"}
    assert nodes["risky_failed"]["inputs"] == "_catch_error"
