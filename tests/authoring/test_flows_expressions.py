"""Expressions in a flow have the values that they have in Python."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NewType, TypedDict

import msgspec
import pytest

from stepwell import FlowError
from stepwell.authoring.flows import compile_flow
from stepwell.authoring.flows.shapes import item_of, shape, shapes
from tests.authoring.flow_runs import function_of, run_document, run_plainly, same

LIMIT = 10
NAMES = ["a", "b"]


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    sku: str
    price: int = 5
    tags: list[str] = field(default_factory=lambda: ["new"])


class Pair(msgspec.Struct):
    left: int
    right: int = 2


@dataclass
class Checked:
    x: int

    def __post_init__(self) -> None:
        self.x += 1


class Renamed(msgspec.Struct, rename="camel"):
    long_name: int


class Tagged(msgspec.Struct, tag=True):
    x: int


class Sparse(msgspec.Struct, omit_defaults=True):
    x: int = 1


class Point(TypedDict):
    x: int


@dataclass
class Given:
    """The input: everything that the texts below use."""

    n: int = 3
    half: float = 0.5
    text: str = "abc"
    empty: str = ""
    flag: bool = True
    nothing: int | None = None
    numbers: list[int] = field(default_factory=lambda: [3, 1, 2])
    none: list[int] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=lambda: {"a": 1})
    size: Size = Size.SMALL
    item: Item = field(default_factory=lambda: Item("x"))
    items: list[Item] = field(default_factory=lambda: [Item("p"), Item("q", 1)])
    anything: Any = None
    price: Decimal | None = Decimal("1.5")
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    renamed: Renamed = field(default_factory=lambda: Renamed(4))
    sparse: Sparse = field(default_factory=Sparse)
    perhaps: Pair | None = field(default_factory=lambda: Pair(5))


EXPRESSIONS = """
    given.n + 1 - 2 * 3
    given.n - (1 - 2) - 3
    (given.n + 1) * 2 % 5
    given.n // 2 + -given.n // 2
    -given.n % 5
    given.n ** 2 ** 1
    (-given.n) ** 2
    -given.n ** 2
    2 ** -1
    +given.n
    given.n / 2
    f"{given.n / 3}" + str(6 / 3)
    6 / 3 == 2
    given.half / 2
    given.text + "d"
    "x" + given.text + str(given.n)
    given.numbers + [given.n] + given.none
    [1] + given.anything if given.anything else [2]
    given.n > 2
    1 < given.n <= 3 < 4
    given.n < 1 < 2
    given.n == 3 and given.text != "x"
    given.text < "b"
    given.nothing is None
    given.nothing is not None
    given.n is not None and given.n > 1
    not given.none
    not given.n
    not (given.n > 1)
    not not given.text
    given.none or given.numbers
    given.numbers and given.empty
    given.empty or given.none or given.n
    given.n and given.text and given.none and given.flag
    given.nothing or 0
    given.flag and given.n > 5
    given.none == []
    [1, 2] == given.numbers[1:]
    given.table == {"a": 1}
    given.n if given.none else given.text
    (given.n if given.flag else 0) + 1
    (1 if given.n else 2) if given.none else (3 if given.flag else 4)
    given.numbers[0] + given.numbers[-1]
    given.numbers[given.n - 2]
    given.text[0]
    given.table["a"]
    given.numbers[1:]
    given.numbers[:-1]
    given.text[1:2]
    given.text[:]
    3 in given.numbers
    7 not in given.numbers
    "b" in given.text
    "a" in given.table
    "b" not in given.table
    len(given.numbers) + len(given.text) + len(given.table)
    bool(given.none) or bool(given.text)
    int("7") + int(2.9) + int(given.half)
    float("1.5")
    float(given.n)
    str(given.flag) + str(given.nothing) + str(given.n) + str(given.half)
    str(given.numbers)
    str(given.table)
    f"{given.n}-{given.text}-{given.flag}-{given.nothing!s}"
    f""
    f"{given.text}"
    f"{{}}\\n"
    f"{given.n}{given.n}"
    f"{given.text if given.flag else given.n}"
    sum(given.numbers)
    sorted(given.numbers)
    min(given.n, 2) + max(1, given.n, 9) + min(given.numbers)
    abs(-given.n)
    round(given.half) + round(2.5) + round(3.5)
    round(1.239, 2)
    any(given.numbers) and not all(given.none + [0])
    list(given.text)
    list(given.table)
    list(range(3)) + list(range(1, 4)) + list(range(5, 0, -2))
    given.text.upper() + given.text.lower() + " x ".strip()
    given.text.startswith("a") and given.text.endswith("c")
    given.text.find("c") + given.text.find("z")
    "a,b".split(",")
    "-".join(["x", "y"])
    ", ".join(given.text.split("b"))
    given.table.get("a")
    given.table.get("z")
    given.table.get("z", 5)
    list(given.table.keys()) + list(given.table.values())
    given.numbers.copy()
    given.item.price * 2
    given.item.tags[0].upper()
    given.items[1].price
    [item.price for item in given.items]
    sum(item.price for item in given.items if item.price > 1)
    [x * y for x in given.numbers for y in range(x) if x != y]
    [[y for y in range(x)] for x in given.numbers]
    [i + x for i, x in enumerate(given.numbers)]
    [key + str(value) for key, value in given.table.items()]
    [a * b for a, b in zip(given.numbers, [1, 2])]
    max([len(item.sku) for item in given.items])
    [x for x in given.numbers if x in [y + 1 for y in given.numbers]]
    {"a": given.n, "b": [given.text], "c": {"d": None}}
    {"a": 1}["a"]
    (given.n, given.text)
    [given.n, [given.none]]
    Item(given.text)
    Item("s", price=given.n, tags=[])
    Item(sku="s")
    Pair(given.n)
    Pair(right=1, left=2)
    Pair(1).left + 1
    Renamed(given.n)
    Renamed(long_name=1).long_name
    Sparse().x + Sparse(x=2).x
    given.renamed.long_name * 2
    given.sparse.x + 1
    given.sparse
    given.perhaps.left if given.perhaps else 0
    given.perhaps is not None and given.perhaps.right > 1
    given.size.value + "!"
    Size.LARGE.value
    [given.price][0]
    [given.price, given.since]
    given.price is None
    given.price != None
    {"a": given.since}
    LIMIT + given.n
    NAMES
    Size.SMALL
    given.size == Size.SMALL
    given.size == Size.LARGE
    NAMES[0] + "!"
    "".join(NAMES)
    "%s"
    "é \\u2028 \\" ' \\\\"
    True
    -1
    1e3
    1.0
    None
    10 ** 20
"""

FAILURES = """
    given.numbers[5]
    given.table["z"]
    given.n // 0
    given.n / 0
    given.n % 0
    int("x")
    min(given.none)
    given.n < given.text
    given.nothing + 1
    given.anything.x
    sorted([1, "x"])
"""


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("text", lines(EXPRESSIONS))
def test_an_expression_has_the_value_that_python_gives(text: str) -> None:
    value = same(function_of(f"async def flow(given: Given) -> object:\n    return {text}\n", globals()), Given())
    assert value.failure is None


@pytest.mark.parametrize("text", lines(FAILURES))
def test_an_expression_fails_where_python_fails(text: str) -> None:
    fn = function_of(f"async def flow(given: Given) -> object:\n    return {text}\n", globals())
    assert run_plainly(fn, Given()).failure is not None
    assert run_document(compile_flow(fn), Given()).failure is not None


@pytest.mark.parametrize("text", lines(EXPRESSIONS))
def test_an_expression_is_as_true_as_in_python(text: str) -> None:
    body = f"    if {text}:\n        return 1\n    return 2\n"
    same(function_of(f"async def flow(given: Given) -> int:\n{body}", globals()), Given())


@pytest.mark.parametrize("text", lines(EXPRESSIONS))
def test_without_types_an_expression_has_the_same_value(text: str) -> None:
    needs = ("given.numbers +", "given.sparse.", "given.renamed.", "given.size.value")  # what only types can tell
    if not any(part in text for part in needs):
        same(function_of(f"async def flow(given):\n    return {text}\n", globals()), Given())


REFUSED = [
    ("given.n @ 2", "the operator `@`"),
    ("given.n | 1", "the operator `|`"),
    ("~given.n", "the operator ~"),
    ("given.text * 2", "works on numbers only"),
    ("given.text % 2", "works on numbers only"),
    ("given.numbers * 2", "works on numbers only"),
    ("given.size is Size.SMALL", "`is` compares with None"),
    ("given.numbers[::2]", "a slice with a step"),
    ("f'{given.half:.2f}'", "a format in an f-string"),
    ("f'{given.text!r}'", "a format in an f-string"),
    ("[*given.numbers]", "`*` is not supported"),
    ("{**given.table}", "the keys of a dict"),
    ("{given.text: 1}", "the keys of a dict"),
    ("{1, 2}", "a set is not supported"),
    ("{x: 1 for x in given.text}", "a dict comprehension is not supported"),
    ("(lambda: 1)()", "the call of"),
    ("lambda: 1", "`lambda` is not supported"),
    ("(y := 2)", "`:=` is not supported"),
    ("given.item.weight", "has no field 'weight'"),
    ("given.missing", "has no field 'missing'"),
    ("print(1)", "the call print(1)"),
    ("sorted(given.numbers, reverse=True)", "the call sorted("),
    ("given.text.replace('a', 'b')", "the call given.text.replace("),
    ("given.text.split()", "the call given.text.split()"),
    ("unknown + 1", "the name 'unknown' is not defined"),
    ("unknown(1)", "the call of unknown()"),
    ("pytest", "cannot stand in an expression"),
    ("b'x'", "cannot stand in an expression"),
    ("float", "cannot stand in an expression"),
    ("Checked(1)", "does something when it is made"),
    ("Tagged(1)", "does something when it is made"),
    ("given.price + 1", "a Decimal is something else in JSON"),
    ("1 + given.price", "a Decimal is something else in JSON"),
    ("-given.price", "a Decimal is something else in JSON"),
    ("given.price < 2", "a Decimal is something else in JSON"),
    ("given.price == 2", "a Decimal is something else in JSON"),
    ("not given.price", "a Decimal is something else in JSON"),
    ("given.since or 1", "a datetime is something else in JSON"),
    ("f'{given.since}'", "a datetime is something else in JSON"),
    ("str(given.since)", "a datetime is something else in JSON"),
    ("int(given.price)", "a Decimal is something else in JSON"),
    ("given.size.name", "Size is its value in JSON"),
    ("Item()", "missing a required argument"),
    ("Item(*given.text)", "`*` is not supported"),
    ("' + '.join(" + repr(["x" * 80] * 140) + ")", "too long for one expression"),
    ("given.flag and [x for x in given.numbers]", "a comprehension in a part"),
    ("1 < 2 < sum(x for x in given.numbers)", "a comprehension in a part"),
    ("[x for x in given.item]", "this has no items"),
    ("[x for x, y in zip(given.none)]", "the call zip("),
    ("[x for x, y in zip(given.none, given.none, given.none)]", "3 values to unpack"),
    ("[x.n for x.n in given.items]", "this target"),
    ("[x async for x in given.items]", "`async for`"),
]


@pytest.mark.parametrize(("text", "what"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_what_expressions_cannot_say_is_refused(text: str, what: str) -> None:
    with pytest.raises(FlowError) as caught:
        compile_flow(function_of(f"async def flow(given: Given) -> object:\n    return {text}\n", globals()))
    assert what in str(caught.value)
    assert caught.value.line == 2


Money = NewType("Money", int)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, "number"),
        (float | None, "number"),
        (bool, "bool"),
        (str, "text"),
        (Literal["a", "b"], "text"),
        (Money, "number"),
        (Size, "text"),
        (list[int], "list"),
        (tuple[int, ...], "list"),
        (set[str], "list"),
        (dict[str, int], "map"),
        (Item, "record"),
        (Pair, "record"),
        (Point, "record"),
        (None, "any"),
        (Any, "any"),
        (int | str, "any"),
        (object, "any"),
        ("Item", "any"),
    ],
)
def test_annotations_say_which_kind_of_json_values_are(hint: Any, expected: str) -> None:
    assert shape(hint) == expected


def test_what_is_in_a_container_is_known_from_its_annotation() -> None:
    assert item_of(list[int]) is int
    assert item_of(tuple[str, ...]) is str
    assert item_of(tuple[str, int]) is Any
    assert item_of(dict[str, float]) is float
    assert item_of(str) is str
    assert item_of(list) is Any
    assert shapes(int | None) == {"number", "none"}
