"""JSON that can be read in one way only: what a `json.JSONDecoder` refuses beside what is no JSON (RFC 8259)."""

from __future__ import annotations

from typing import Any, NoReturn


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook`: an object. `ValueError` if a name is in it twice, which two programs may read
    differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:100]!r} is twice in one object")
    return found


def no_constant(constant: str) -> NoReturn:
    """For `parse_constant`: there is no NaN, and nothing infinite."""
    raise ValueError(f"{constant} is no JSON number")


def is_deeper(value: Any, most: int) -> bool:
    """Whether more than so many arrays and objects are around something in it, itself included."""
    depth, level = 0, [value]
    while (level := [item for item in level if isinstance(item, dict | list)]) and depth <= most:
        depth += 1
        level = [item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)]
    return depth > most
