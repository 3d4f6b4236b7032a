"""The methods of strings and arrays, a closed list: as in JavaScript; `upper`, `lower` and `strip` as in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import UNSET

from stepwell.engine.expressions.values import SPACES, equal, is_nullish, kind, text_of, whole
from stepwell.engine.expressions.work import Refusal, Work


class Method(NamedTuple):
    """What is called for a string and for an array, and with how many arguments."""

    of_string: Callable[..., Any] | None
    of_array: Callable[..., Any] | None
    least: int
    most: int


def invoke(name: str, work: Work, value: Any, arguments: list[Any]) -> Any:
    """Call a method of a value."""
    method = METHODS[name]
    run = method.of_string if type(value) is str else method.of_array if type(value) is list else None
    if run is None:
        raise Refusal(f"{kind(value)} has no method {name}()")
    return run(work, value, *arguments)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Refusal(f"this method of strings takes a string, not {kind(value)}")
    return value


def _of_text(convert: Callable[[str], str]) -> Callable[..., Any]:
    def run(work: Work, text: str) -> str:
        work.room_for_text(len(text))
        result = convert(text)
        work.room_for_text(len(result))
        return result

    return run


def _slice(start: Any, end: Any) -> slice:
    first = 0 if start is UNSET else whole(start, "the start")
    last = None if end is UNSET else whole(end, "the end")
    return slice(first, last)


def _slice_text(work: Work, text: str, start: Any = UNSET, end: Any = UNSET) -> str:
    result = text[_slice(start, end)]
    work.room_for_text(len(result))
    return result


def _slice_items(work: Work, items: list[Any], start: Any = UNSET, end: Any = UNSET) -> list[Any]:
    span = _slice(start, end)
    work.room_for_items(len(range(*span.indices(len(items)))))
    return items[span]


def _split(work: Work, text: str, separator: Any = UNSET) -> list[str]:
    work.read(text)
    if separator is UNSET:
        return [text]
    if _string(separator) == "":
        work.room_for_items(len(text))
        return list(text)
    work.room_for_items(text.count(separator) + 1)
    return text.split(separator)


def _join(work: Work, items: list[Any], separator: Any = ",") -> str:
    work.charge(len(items))
    parts = ["" if is_nullish(item) else text_of(item) for item in items]
    between = _string(separator)
    work.room_for_text(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def _position(work: Work, items: list[Any], item: Any) -> int:
    work.charge(len(items))
    return next((place for place, other in enumerate(items) if equal(item, other, work)), -1)


def _concat(work: Work, items: list[Any], *others: Any) -> list[Any]:
    lists = [items, *(other if type(other) is list else [other] for other in others)]
    work.room_for_items(sum(map(len, lists)))
    return [None if item is UNSET else item for part in lists for item in part]


def _at(_work: Work, items: list[Any], index: Any) -> Any:
    place = whole(index, "the index")
    return items[place] if -len(items) <= place < len(items) else UNSET


METHODS: dict[str, Method] = {
    "includes": Method(
        lambda work, text, part: _string(part) in work.read(text),
        lambda work, items, item: _position(work, items, item) >= 0,
        1,
        1,
    ),
    "indexOf": Method(lambda work, text, part: work.read(text).find(_string(part)), _position, 1, 1),
    "slice": Method(_slice_text, _slice_items, 0, 2),
    "startsWith": Method(lambda work, text, part: work.read(text).startswith(_string(part)), None, 1, 1),
    "endsWith": Method(lambda work, text, part: work.read(text).endswith(_string(part)), None, 1, 1),
    "toLowerCase": Method(_of_text(str.lower), None, 0, 0),
    "toUpperCase": Method(_of_text(str.upper), None, 0, 0),
    "trim": Method(_of_text(lambda text: text.strip(SPACES)), None, 0, 0),
    "lower": Method(_of_text(str.lower), None, 0, 0),
    "upper": Method(_of_text(str.upper), None, 0, 0),
    "strip": Method(_of_text(str.strip), None, 0, 0),
    "split": Method(_split, None, 0, 1),
    "join": Method(None, _join, 0, 1),
    "concat": Method(None, _concat, 0, 100),
    "at": Method(None, _at, 1, 1),
}
