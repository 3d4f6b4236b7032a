"""What the operators do with values."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from stepwell.engine.expressions.values import equal, finite, is_nullish, is_number, key_of, kind, numeral, text_of
from stepwell.engine.expressions.work import Refusal, Work

Operation = Callable[[Work, Any, Any], Any]
"""Of two values that were computed already."""


def compare(sign: str, left: Any, right: Any) -> bool:
    """`<` and its like: numbers with numbers, strings with strings."""
    if (is_number(left) and is_number(right)) or (type(left) is str and type(right) is str):
        return bool(_COMPARISONS[sign](left, right))
    raise Refusal(f"`{sign}` between {kind(left)} and {kind(right)}; it compares numbers, or strings")


def negative(value: Any) -> Any:
    """Unary minus."""
    if not is_number(value):
        raise Refusal(f"`-` of {kind(value)}; it takes a number")
    return -value


def positive(value: Any) -> Any:
    """Unary plus, and `Number()`."""
    if is_number(value):
        return value
    if value is None or type(value) is bool:
        return int(bool(value))
    if type(value) is str:
        return numeral(value)
    raise Refusal(f"{kind(value)} is not a number")


def type_of(value: Any) -> str:
    """`typeof`."""
    name = kind(value)
    return "object" if name in ("null", "array") else name


def floor_divide(_work: Work, left: Any, right: Any) -> Any:
    """Python's `//`."""
    return _compute("floordiv", _not_by_zero(operator.floordiv), left, right)


def modulo(_work: Work, left: Any, right: Any) -> Any:
    """Python's `%`, which has the sign of the divisor."""
    return _compute("mod", _not_by_zero(operator.mod), left, right)


def _same(work: Work, left: Any, right: Any) -> bool:
    return (is_nullish(left) and is_nullish(right)) or equal(left, right, work)


def _has(_work: Work, left: Any, right: Any) -> bool:
    if type(right) is not dict:
        raise Refusal(f"`in` asks an object for a key, not {kind(right)}; for arrays and strings there is includes()")
    return key_of(left) in right


def _add(work: Work, left: Any, right: Any) -> Any:
    if type(left) is not str and type(right) is not str:
        return _compute("+", operator.add, left, right)
    first, second = text_of(left), text_of(right)
    work.room_for_text(len(first) + len(second))
    return first + second


def _arithmetic(sign: str, compute: Callable[[Any, Any], Any]) -> Operation:
    def run(_work: Work, left: Any, right: Any) -> Any:
        return _compute(sign, compute, left, right)

    return run


def _comparison(sign: str) -> Operation:
    """With a shortcut, because most conditions compare numbers."""
    compute = _COMPARISONS[sign]

    def run(_work: Work, left: Any, right: Any) -> Any:
        if type(left) in _NUMBERS and type(right) in _NUMBERS:
            return compute(left, right)
        if left is UNSET or right is UNSET:
            return False  # as in JavaScript: conditions ask for keys that are not written yet
        return compare(sign, left, right)

    return run


def _compute(sign: str, compute: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        raise Refusal(f"`{sign}` of {kind(left)} and {kind(right)}; it takes numbers")
    try:
        return finite(compute(left, right))
    except OverflowError:
        raise Refusal("the result is too large") from None


def _not_by_zero(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(left: Any, right: Any) -> Any:
        if right == 0:
            raise Refusal("division by zero")
        return compute(left, right)

    return run


def _divide(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int and left % right == 0:
        return left // right
    return left / right


def _remainder(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int:
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return math.fmod(left, right)


def _power(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int and right > 0:
        finite(1 << min((left.bit_length() - 1) * right, 1 << 16) if abs(left) > 1 else 0)
    if left == 0 and right < 0:
        raise Refusal("division by zero")
    return left**right


_NUMBERS = frozenset({int, float})
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

OPERATIONS: dict[str, Operation] = {
    "===": lambda work, left, right: equal(left, right, work),
    "!==": lambda work, left, right: not equal(left, right, work),
    "==": _same,
    "!=": lambda work, left, right: not _same(work, left, right),
    "in": _has,
    "+": _add,
    "-": _arithmetic("-", operator.sub),
    "*": _arithmetic("*", operator.mul),
    "/": _arithmetic("/", _not_by_zero(_divide)),
    "%": _arithmetic("%", _not_by_zero(_remainder)),
    "**": _arithmetic("**", _power),
    **{sign: _comparison(sign) for sign in _COMPARISONS},
}
"""By their sign; those that decide whether their right side is computed are not among them."""
