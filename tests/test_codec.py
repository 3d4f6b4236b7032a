"""Values come back as they went in, or are refused where they were produced."""

from __future__ import annotations

import enum
import inspect
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from stepwell.codec import Codec, typed
from stepwell.codec.compare import difference
from stepwell.errors import CodecError, DefinitionError
from stepwell.model.failures import NULL
from stepwell.model.values import Blob, Secret

T = TypeVar("T")
WHERE = "the result of step charge"
OrderId = NewType("OrderId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Item(Struct):
    price: float
    name: str = ""


class Order(Struct):
    items: list[Item]
    note: str | None = None


class Discounted(Item):
    percent: int = 0


class Card(Struct, tag=True):
    number: str


class Cash(Struct, tag=True):
    amount: Decimal


class Tree(Struct):
    children: list[Tree] = []


class Box(Struct, Generic[T]):
    content: T


class NoEquality(Struct, eq=False):
    x: int


class Moved(Struct):
    x: int

    def __post_init__(self) -> None:
        self.x += 1


@dataclass(slots=True)
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    depth: int


class Customer(pydantic.BaseModel):
    born: date
    city: str = pydantic.Field("", alias="town")


class Regular(Customer):
    since: int = 0


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class Picky(Struct):
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise KeyError("x")


class Attributes:
    """What `attrs` makes of a class, as far as it matters here."""

    __attrs_attrs__ = (inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD),)

    def __init__(self, x: object) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


PARIS = ZoneInfo("Europe/Paris")
CEST = timezone(timedelta(hours=2))

KEPT: list[tuple[Any, object]] = [
    (int, 2**70),
    (float, -0.0),
    (None, None),
    (str | None, None),
    (OrderId, 7),
    (Order, Order([Item(1.5, "a")])),
    (Card | Cash, Cash(Decimal("1.10"))),
    (Tree, Tree([Tree(), Tree([Tree()])])),
    (Box[int], Box(1)),
    (Point, Point(1, {"a"})),
    (Pair, Pair(1, "b")),
    (Options, {"depth": 1}),
    (Customer, Customer(born=date(2000, 1, 1), town="Rome")),
    (Page[int], Page[int](items=[1])),
    (list[Customer | None], [Customer(born=date(2000, 1, 1), town=""), None]),
    (Literal["a", 1], 1),
    (Color, Color.BLUE),
    (dict[Color, Level], {Color.RED: Level.LOW}),
    (dict[int, str], {1: "a", 2**65: "b"}),
    (datetime, datetime(2024, 1, 1, 12, 0, 0, 7)),
    (datetime, datetime(2024, 1, 1, tzinfo=CEST)),
    (time, time(1, 2, 3, 4, tzinfo=CEST)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (UUID, UUID(int=5)),
    (bytes, b"\x00\xff"),
    (tuple[int, ...], (1, 2)),
    (frozenset[str], frozenset({"a"})),  # of several, the order may be another
    (Annotated[int, msgspec.Meta(gt=1)], 2),
    (Secret, Secret("stripe")),
    (str | Secret, Secret("stripe")),
    (Blob, Blob("run/1", 3, "a.pdf", "ff")),
    (Any, {"a": [1, 2.5, None, True, "x", {}]}),
    (inspect.Parameter.empty, [1]),
    (list[object], [1, {"a": None}]),
]


@pytest.mark.parametrize(("annotation", "value"), KEPT, ids=str)
def test_a_value_of_its_type_comes_back(annotation: Any, value: object) -> None:
    prepared = typed(annotation)

    raw, seen = prepared.isolate(value, where=WHERE)

    assert repr(seen) == repr(value)
    assert type(seen) is type(value)
    assert repr(prepared.decode(raw, where=WHERE)) == repr(seen)


CHANGED = [
    (Any, (1, 2), "return type"),
    (Any, {"a": [(1,)]}, r"`\['a'\]\[0\]`"),
    (Any, {1: 2}, r"1 \(int\) went in, '1' \(str\) came back"),
    (Any, b"x", "return type"),
    (Any, {1}, "return type"),
    (Any, OrderedDict(a=1), "return type"),
    (Any, Item(1.0), "return type"),
    (Any, Level.LOW, "return type"),
    (Any, object(), "object cannot be written"),
    (Any, [1, {"a": object()}], r"`\[1\]\['a'\]`: a object"),
    (Any, {(1, 2): 3}, "key"),
    (Any, "\ud800", "surrogate"),
    (Any, {"a": ["x", "\ud800"]}, r"`\['a'\]\[1\]`"),
    (float, math.nan, "nan"),
    (float | None, math.inf, "inf"),
    (Any, {"a": [math.nan]}, r"`\['a'\]\[0\]` is nan"),
    (Order, Order([Item(1.0), Item(math.inf)]), r"`items\[1\].price` is inf"),
    (dict[float, int], {math.nan: 1}, "nan"),
    (Decimal, Decimal("sNaN"), "went in"),
    (int, "7", "expected int, got str; it is annotated int"),
    (int, True, "expected int, got bool"),
    (int, Level.LOW, "went in"),
    (float, 2**53 + 1, "went in"),
    (str, type("Text", (str,), {})("x"), "a Text cannot be written"),
    (Order, Order([Item(1.0), Item("7")]), r"`items\[1\].price`: expected float, got str"),
    (list[Item], [Discounted(1.0, "", 5)], r"`\[0\]`.*Discounted"),
    (list[Customer], [Regular(born=date(2000, 1, 1), town="", since=3)], r"`\[0\]`"),
    (Login, Login(password=pydantic.SecretStr("hunter2")), "password"),
    (Options, {"depth": 1, "width": 2}, "width"),
    (tuple[int, str], Pair(1, "b"), "Pair"),
    (set[int], frozenset({1}), "frozenset"),
    (Moved, Moved(1), "`x`.* 2 .* 3 "),
    (Annotated[int, msgspec.Meta(gt=1)], 0, "expected int >= 2"),
    (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=1))), "went in"),
    (datetime, datetime(2024, 1, 1, fold=1), "fold=1"),
    (time, time(1, tzinfo=PARIS), "went in"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), CHANGED, ids=lambda part: ascii(part)[:40])
def test_a_value_that_would_change_is_refused(annotation: Any, value: object, text: str) -> None:
    with pytest.raises(CodecError, match=text) as caught:
        typed(annotation).encode(value, where=WHERE)

    assert str(caught.value).startswith(WHERE)
    assert "hunter2" not in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop += [loop, loop]

    with pytest.raises(CodecError, match="contains itself"):
        typed(Any).encode(loop, where=WHERE)


def test_an_int_beyond_the_limit_of_python_is_refused() -> None:
    with pytest.raises(CodecError, match=r"`\[0\]`: the int has too many digits"):
        typed(Any).encode([10**5000], where=WHERE)


def test_an_int_may_stand_for_the_equal_float() -> None:
    assert repr(typed(list[float]).isolate([1, 2.5], where=WHERE)[1]) == "[1.0, 2.5]"


def test_a_class_without_equality_is_compared_by_fields() -> None:
    assert typed(NoEquality).isolate(NoEquality(3), where=WHERE)[1].x == 3


def test_a_time_zone_comes_back_as_its_offset() -> None:
    later = datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1)

    seen = typed(datetime).isolate(later, where=WHERE)[1]

    assert seen.isoformat() == later.isoformat()


def test_the_body_gets_a_copy_of_what_can_change() -> None:
    order = Order([Item(1.0)])

    seen = typed(Order).isolate(order, where=WHERE)[1]

    assert seen == order
    assert seen.items is not order.items


def test_null_is_the_payload_that_costs_no_bytes() -> None:
    assert typed(Order | None).encode(None, where=WHERE) is NULL
    assert typed(None).encode(None, where=WHERE) is NULL


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b'{"items":[],"note":5}', "input of workflow checkout: field `note`: expected str | null, got int"),
        (b'{"items":[{"price":"x"}]}', "input of workflow checkout: field `items[0].price`: expected float, got str"),
        (b"{}", "input of workflow checkout: object missing required field items"),
        (b'{"items"', "input of workflow checkout: input data was truncated"),
        (b"[" * 100_000, "input of workflow checkout: it is nested too deep"),
    ],
)
def test_a_payload_that_does_not_fit_names_the_field(payload: bytes, text: str) -> None:
    prepared = typed(Order if payload[:1] == b"{" else Any)

    with pytest.raises(CodecError) as caught:
        prepared.decode(Raw(payload), where="input of workflow checkout")

    assert str(caught.value) == text


def test_code_of_users_may_raise_anything() -> None:
    with pytest.raises(CodecError, match=r"^the input: KeyError: 'x'"):
        typed(Picky).decode(Raw(b'{"x":-1}'), where="the input")


def test_a_value_nested_as_deep_as_python_allows_is_kept_or_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(CodecError, match="nested too deep"):
        typed(Any).encode(nested, where=WHERE)


def test_what_is_wrong_far_below_is_named_by_the_part_that_holds_it() -> None:
    nested: list[Any] = [object()]
    for _ in range(200):
        nested = [nested]

    with pytest.raises(CodecError, match=r"`(\[0\]){100}`: a list cannot be written"):
        typed(Any).encode(nested, where=WHERE)


def test_a_class_that_calls_everything_equal_is_compared_by_fields() -> None:
    assert difference(Attributes(1), Attributes(True)) == (".x", 1, True)


def test_one_value_may_not_take_more_than_the_limit() -> None:
    with pytest.raises(CodecError, match="takes 12 bytes, and one value may take 10"):
        Codec(max_payload=10).typed(str).encode("x" * 10, where=WHERE)


def test_registered_classes_are_written_by_their_functions() -> None:
    money = Codec(types={Money: (lambda m: m.cents, Money)}).typed(list[Money])

    raw, seen = money.isolate([Money(5)], where=WHERE)

    assert bytes(raw) == b"[5]"
    assert seen[0].cents == 5


def test_a_registered_class_that_loses_something_is_refused() -> None:
    money = Codec(types={Money: (lambda m: round(m.cents, -1), Money)}).typed(Money)

    with pytest.raises(CodecError, match=r"`cents`.* 5 .* 0 "):
        money.encode(Money(5), where=WHERE)


def test_registering_what_has_a_form_already_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="Order has a JSON form already"):
        Codec(types={Order: (str, str)})


def test_an_annotation_is_prepared_once() -> None:
    codec = Codec()

    assert codec.typed(list[int]) is codec.typed(list[int])
    assert codec.typed(Annotated[int, []]).decode(Raw(b"1"), where=WHERE) == 1


# --- Properties ---------------------------------------------------------------------------------------------------

_atoms: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (str, st.text(st.characters())),
    (bool, st.booleans()),
    (float, st.floats()),
    (bytes, st.binary()),
    (Decimal, st.decimals()),
    (datetime, st.datetimes() | st.datetimes(timezones=st.timezones())),
    (date, st.dates()),
    (time, st.times() | st.times(timezones=st.timezones())),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Color, st.sampled_from(Color)),
    (Secret, st.builds(Secret, st.text(min_size=1))),
    (Point, st.builds(Point, st.integers(), st.sets(st.text()))),
    (Customer, st.builds(Customer, born=st.dates(), town=st.text())),
    (Any, st.recursive(st.none() | st.integers() | st.text() | st.floats(), lambda s: st.lists(s) | st.tuples(s, s))),
]


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def grow(pair: tuple[Any, st.SearchStrategy[Any]]) -> list[tuple[Any, st.SearchStrategy[Any]]]:
        kind, values = pair
        return [
            (list[kind], st.lists(values, max_size=3)),
            (dict[str, kind], st.dictionaries(st.text(), values, max_size=3)),
            (dict[int, kind], st.dictionaries(st.integers(), values, max_size=3)),
            (tuple[kind, int], st.tuples(values, st.integers() | st.booleans())),
            (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
            (kind | None, values | st.none()),
            (Box[kind], st.builds(Box, values)),
        ]

    return inner.flatmap(lambda pair: st.sampled_from(grow(pair)))


_typed_values = st.recursive(st.sampled_from(_atoms), _containers, max_leaves=3).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), pair[1])
)


def _picture(value: Any) -> object:
    """A value by type and content, independently of what the codec holds for equal."""
    if isinstance(value, list | tuple):
        return type(value), [_picture(part) for part in value]
    if isinstance(value, dict):
        return [(_picture(key), _picture(part)) for key, part in value.items()]
    if isinstance(value, Box):
        return _picture(value.content)
    if isinstance(value, Point):
        return value.x, sorted(value.tags)
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        return value.isoformat()
    return type(value), repr(value)


@given(_typed_values)
def test_a_value_comes_back_or_is_refused_and_never_changes(pair: tuple[Any, object]) -> None:
    annotation, value = pair
    prepared = typed(annotation)
    try:
        raw, seen = prepared.isolate(value, where=WHERE)
    except CodecError:
        return

    assert _picture(seen) == _picture(value)
    assert _picture(prepared.decode(raw, where=WHERE)) == _picture(value)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_plain_values_are_never_refused(value: object) -> None:
    assert typed(Any).isolate(value, where=WHERE)[1] == value
