"""Steps for flows of the tests. `calls` holds what was called, in order."""

from __future__ import annotations

from typing import Any

from stepwell import flow, step

calls: list[tuple[Any, ...]] = []


@step
async def inc(x: int) -> int:
    calls.append(("inc", x))
    return x + 1


@step
async def add(a: int, b: int = 1) -> int:
    calls.append(("add", a, b))
    return a + b


@step
async def risky(x: int) -> int:
    calls.append(("risky", x))
    if x % 3 == 0:
        raise ValueError(f"no {x}")
    if x % 7 == 5:
        raise KeyError(x)
    return x - 1


@step
async def first(items: list[int]) -> int:
    calls.append(("first", *items))
    return items[0]


@step
async def many(n: int) -> list[int]:
    calls.append(("many", n))
    return list(range(n % 4))


@step
def size(t: str) -> int:
    calls.append(("size", t))
    return len(t)


@step
async def seven() -> int:
    return 7


@flow
async def doubled(n: int) -> int:
    m = await inc(n)
    return await add(m, n)


@flow
async def guarded(n: int) -> int:
    if n > 2:
        raise LookupError(f"{n} is too much")
    return await risky(n)
