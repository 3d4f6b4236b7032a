"""Whether two paths through a graph can keep apart: no node lies on both."""

from __future__ import annotations

from collections.abc import Iterator

from stepwell.engine.graph.wiring import Links

_Place = tuple[int, bool]
"""Before a node (False), or behind it (True). Only one path may go through."""


def keep_apart(starts: tuple[int, int], ends: tuple[int, int], after: Links) -> tuple[bool, int]:
    """Whether paths without a common node lead from two starts to two ends, in whichever pairs; and how many steps it
    took to find out.

    A flow of two: any first path, and a search for a second one, which may push the first aside by going back on it.
    """
    if starts[0] == starts[1] or ends[0] == ends[1]:
        return False, 1
    came = _first_path(starts, ends, after)
    end = next((end for end in ends if end in came), None)
    if end is None:
        return False, len(came)
    path: dict[int, int | None] = {}
    place: int | None = end
    while place is not None:
        path[place] = came[place]
        place = came[place]
    other_start = starts[0] if starts[1] in path and path[starts[1]] is None else starts[1]
    other_end = ends[0] if end == ends[1] else ends[1]
    seen: set[_Place] = {(other_start, False)}
    todo = [(other_start, False)]
    while todo and (other_end, True) not in seen:
        for following in _steps(todo.pop(), path, after):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return (other_end, True) in seen, len(came) + len(seen)


def _first_path(starts: tuple[int, int], ends: tuple[int, int], after: Links) -> dict[int, int | None]:
    """Where one gets to, as far as the first end, and from where."""
    came: dict[int, int | None] = dict.fromkeys(starts)
    todo = list(starts)
    while todo:
        number = todo.pop()
        if number in ends:
            return {found: source for found, source in came.items() if found not in ends or found == number}
        for target in after[number]:
            if target not in came:
                came[target] = number
                todo.append(target)
    return came


def _steps(place: _Place, path: dict[int, int | None], after: Links) -> Iterator[_Place]:
    number, is_behind = place
    if not is_behind:
        source = path.get(number)
        if number not in path:
            yield number, True
        elif source is not None:
            yield source, True
        return
    for target in after[number]:
        if target not in path or path[target] != number:
            yield target, False
    if number in path:
        yield number, False
