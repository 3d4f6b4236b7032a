"""The functions, a closed list. Those that Python has do as in Python, those of `Math` and its like as in JavaScript.

So `round` and `Math.round` differ, and so do `str` and `String`, `bool` and `Boolean`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import UNSET

from stepwell.engine.expressions.operators import compare, floor_divide, modulo, positive
from stepwell.engine.expressions.values import (
    equal,
    finite,
    is_nullish,
    is_number,
    kind,
    measure,
    text_of,
    truthy,
    whole,
)
from stepwell.engine.expressions.work import MAX_BITS, MAX_ITEMS, Refusal, Work


class Function(NamedTuple):
    """What is called, and with how many arguments."""

    run: Callable[..., Any]
    least: int
    most: int


def truth(value: Any) -> bool:
    """Python's: empty arrays and objects are false."""
    return bool(value) if isinstance(value, list | dict) else truthy(value)


def contains(work: Work, container: Any, item: Any) -> bool:
    """Python's `in`: an item of an array, a part of a string, a key of an object."""
    if isinstance(container, list):
        work.charge(len(container))
        return any(equal(item, other, work) for other in container)
    if isinstance(container, str) and isinstance(item, str):
        return item in work.read(container)
    if isinstance(container, dict) and isinstance(item, str):
        return item in container
    raise Refusal(f"{kind(container)} cannot contain {kind(item)}")


def items_of(work: Work, value: Any) -> list[Any]:
    """What Python goes through: the items of an array, the keys of an object, the characters of a string."""
    if not isinstance(value, list | dict | str):
        raise Refusal(f"{kind(value)} has no items")
    work.charge(len(value))
    return value if isinstance(value, list) else list(value)


def _len(_work: Work, value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise Refusal(f"{kind(value)} has no length")
    return len(value)


def _python_text(work: Work, value: Any) -> str:
    measure(value, work)
    if value is UNSET:
        raise Refusal("undefined has no text")
    text = str(value)
    work.room_for_text(len(text))
    return text


def _text(_work: Work, value: Any) -> str:
    return kind(value) if is_nullish(value) else text_of(value)


def _keys(work: Work, value: Any) -> list[Any]:
    return _list(work, _object(value))


def _values(work: Work, value: Any) -> list[Any]:
    work.room_for_items(len(_object(value)))
    return list(value.values())


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise Refusal(f"{kind(value)} has no keys")
    return value


def _list(work: Work, value: Any) -> list[Any]:
    work.room_for_items(_len(work, value))
    return list(value)


def _extreme(sign: str) -> Callable[..., Any]:
    def run(work: Work, *values: Any) -> Any:
        items = items_of(work, values[0]) if len(values) == 1 else values
        if not items:
            raise Refusal("there is nothing to choose from")
        best, *others = items
        for other in others:
            if compare(sign, other, best):
                best = other
        return best

    return run


def _extreme_number(choose: Callable[..., Any]) -> Callable[..., Any]:
    def run(_work: Work, *values: Any) -> Any:
        return choose(*map(_number, values), _number(values[0]))

    return run


def _number(value: Any) -> Any:
    if not is_number(value):
        raise Refusal(f"{kind(value)} is not a number")
    return value


def _of_number(compute: Callable[[Any], Any]) -> Callable[..., Any]:
    def run(_work: Work, value: Any) -> Any:
        return finite(compute(_number(value)))

    return run


def _round(_work: Work, value: Any, digits: Any = None) -> Any:
    if digits is None:
        return round(_number(value))
    places = whole(digits, "the number of digits")
    if abs(places) > 400:
        raise Refusal("round() takes -400 to 400 digits")
    return finite(round(_number(value), places))


def _round_half_up(value: Any) -> Any:
    below = math.floor(value)
    return below + 1 if value - below >= 0.5 else below


def _int(_work: Work, value: Any) -> int:
    if isinstance(value, str) and len(value) > MAX_BITS:
        raise Refusal("this text is too long for a number")
    if not isinstance(value, str | int | float):
        raise Refusal(f"int() of {kind(value)}")
    try:
        result: int = finite(int(value))
    except (ValueError, OverflowError):
        raise Refusal("this is not a whole number") from None
    return result


def _float(work: Work, value: Any) -> float:
    if not isinstance(value, str | int | float):
        raise Refusal(f"float() of {kind(value)}")
    try:
        result: float = finite(float(work.read(value) if isinstance(value, str) else value))
    except (ValueError, OverflowError):
        raise Refusal("this is not a number") from None
    return result


def _get(_work: Work, value: Any, key: Any, default: Any = None) -> Any:
    fields = _object(value)
    return fields.get(key, default) if isinstance(key, str) else default


def _index(_work: Work, value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(key, str) and key in value:
            return value[key]
        raise Refusal("the object has no such key")
    position = whole(key, "the index")
    if not isinstance(value, list | str):
        raise Refusal(f"{kind(value)} has no items")
    if not -len(value) <= position < len(value):
        raise Refusal(f"there is no item {position} among {len(value)}")
    return value[position]


def _sorted(work: Work, value: Any) -> list[Any]:
    items = _list(work, value)
    work.charge(len(items))
    for item in items:
        compare("<", item, items[0])
    return sorted(items)


def _sum(work: Work, value: Any) -> Any:
    total: Any = 0
    for item in items_of(work, value):
        total = finite(total + _number(item))
    return total


def _range(work: Work, *bounds: Any) -> list[int]:
    numbers = [whole(bound, "a bound of range()") for bound in bounds]
    if numbers[2:] == [0]:
        raise Refusal("the step of range() is 0")
    span = range(*numbers)
    if span[MAX_ITEMS:]:
        raise Refusal(f"range() makes at most {MAX_ITEMS:,} items")
    work.room_for_items(len(span))
    return list(span)


_NUMBER = Function(lambda _work, value: positive(value), 1, 1)
_KEYS = Function(_keys, 1, 1)
_VALUES = Function(_values, 1, 1)
_ABS = Function(_of_number(abs), 1, 1)
_FLOOR = Function(_of_number(math.floor), 1, 1)
_CEIL = Function(_of_number(math.ceil), 1, 1)

FUNCTIONS: dict[str, Function] = {
    "len": Function(_len, 1, 1),
    "bool": Function(lambda _work, value: truth(value), 1, 1),
    "str": Function(_python_text, 1, 1),
    "int": Function(_int, 1, 1),
    "float": Function(_float, 1, 1),
    "number": _NUMBER,
    "keys": _KEYS,
    "values": _VALUES,
    "list": Function(_list, 1, 1),
    "min": Function(_extreme("<"), 1, 100),
    "max": Function(_extreme(">"), 1, 100),
    "abs": _ABS,
    "round": Function(_round, 1, 2),
    "floor": _FLOOR,
    "ceil": _CEIL,
    "floordiv": Function(floor_divide, 2, 2),
    "mod": Function(modulo, 2, 2),
    "contains": Function(contains, 2, 2),
    "get": Function(_get, 2, 3),
    "index": Function(_index, 2, 2),
    "sorted": Function(_sorted, 1, 1),
    "sum": Function(_sum, 1, 1),
    "any": Function(lambda work, value: any(map(truth, items_of(work, value))), 1, 1),
    "all": Function(lambda work, value: all(map(truth, items_of(work, value))), 1, 1),
    "range": Function(_range, 1, 3),
    "Math.min": Function(_extreme_number(min), 1, 100),
    "Math.max": Function(_extreme_number(max), 1, 100),
    "Math.abs": _ABS,
    "Math.round": Function(_of_number(_round_half_up), 1, 1),
    "Math.floor": _FLOOR,
    "Math.ceil": _CEIL,
    "Object.keys": _KEYS,
    "Object.values": _VALUES,
    "Array.isArray": Function(lambda _work, value: isinstance(value, list), 1, 1),
    "Number": _NUMBER,
    "String": Function(_text, 1, 1),
    "Boolean": Function(lambda _work, value: truthy(value), 1, 1),
}
