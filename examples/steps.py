"""Steps: names, keys, options for one call, functions of others, functions that block, results of many types."""

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Literal, TypedDict
from uuid import UUID

from msgspec import Struct

from stepwell import Context, Step, Stepwell, step, workflow


class Colour(Enum):
    RED = "red"


class Size(TypedDict):
    width: int
    unit: Literal["cm", "in"]


class Card(Struct, tag=True):
    number: str


class Cash(Struct, tag=True):
    amount: Decimal


@dataclass
class Item:
    id: UUID
    colour: Colour
    size: Size
    paid: Card | Cash
    made: date
    keeps: timedelta
    photo: bytes
    tags: frozenset[str]
    place: tuple[int, int] = (0, 0)


@step
async def describe(item: Item) -> Item:
    return item


@step
def slow_sum(numbers: list[int]) -> int:  # a plain `def` runs in a thread
    time.sleep(0.01)
    return sum(numbers)


@step(name="double-it")
async def double(x: int, factor: int = 2) -> int:
    return x * factor


async def doubled(how: Step[..., int], x: int) -> int:
    """Helpers take steps as they take functions."""
    return await how(x)


@workflow
async def tour(ctx: Context) -> dict[str, int]:
    item = Item(
        id=UUID(int=7),
        colour=Colour.RED,
        size={"width": 3, "unit": "cm"},
        paid=Cash(Decimal("9.99")),
        made=date(2026, 11, 20),
        keeps=timedelta(days=3),
        photo=b"\x00\xff",
        tags=frozenset({"new"}),
    )
    assert await describe(item) == item  # what a body sees was written down and read back

    parsed = await step(json.loads, name="parse", timeout="5s")('{"a": 1}')  # a function that you did not write
    assert parsed == {"a": 1}

    keyed = double.options(key="order-7", timeout="5s")  # for the calls made through it; the id is double-it[order-7]
    return {
        "sum": await slow_sum([1, 2, 3]),
        "double": await double(21),  # its id is double-it
        "triple": await double(21, factor=3),  # ... double-it:2
        "keyed": await doubled(keyed, 5),
    }


async def main() -> None:
    assert await double(4) == 8  # outside of a workflow a step just runs
    assert slow_sum.fn([1, 2]) == 3  # and this is the function itself

    async with Stepwell("memory://", include=[__name__]) as app:
        started = datetime.now(UTC)
        result = await (await app.start(tour)).result()
        assert result == {"sum": 6, "double": 42, "triple": 63, "keyed": 10}, result
        print(result, datetime.now(UTC) - started)


if __name__ == "__main__":
    asyncio.run(main())
