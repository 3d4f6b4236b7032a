"""Two places where a library's order depends on addresses, and the hashes of our tasks and futures do not help.

`asyncio.as_completed` makes a set of the coroutines that it is given, before the loop sees any of them. That cannot be
cured, so it is refused. anyio keeps the cancel scopes of a group's children in a set; that one is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import CodeType, FrameType
from typing import Any

AS_COMPLETED = (
    "as_completed() shuffles bare coroutines, so a replay would start them in another order; "
    "make tasks of them first, or use ctx.map"
)
ENSURE_FUTURE: CodeType = getattr(asyncio.tasks, "_ensure_future", asyncio.ensure_future).__code__
"""The code that calls `create_task` on behalf of `as_completed`, and of others."""

_AS_COMPLETED_CODE = ("as_completed", "_AsCompletedIterator.__init__")


class _InOrder(dict[Any, None]):
    """What anyio uses of a set, in the order of addition."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)

    def remove(self, item: Any) -> None:
        del self[item]


def shuffled_by_as_completed(frame: FrameType) -> list[Coroutine[Any, Any, Any]] | None:
    """The coroutines in the collection that `as_completed` was given, if that is what called `frame`.

    Through asyncio's own code only: tasks that a user's generator makes meanwhile are in order.
    """
    caller = frame.f_back
    while caller is not None and caller.f_code.co_filename == ENSURE_FUTURE.co_filename:
        if caller.f_code.co_qualname in _AS_COMPLETED_CODE:
            given = caller.f_locals.get("fs", caller.f_locals.get("aws"))
            items = given if isinstance(given, (list, tuple, set)) else ()
            return [item for item in items if asyncio.iscoroutine(item)]
        caller = caller.f_back
    return None


def put_anyio_scopes_in_order(frame: FrameType) -> None:
    """`frame` is where an anyio group starts a child: let the scopes that get children keep them in order.

    Only here can such a set get a second member. Nothing happens if it is another `_spawn`, or anyio changes.
    """
    variables = frame.f_locals
    for scope in (getattr(variables.get("self"), "cancel_scope", None), variables.get("initial_scope")):
        children = getattr(scope, "_child_scopes", None)
        if type(children) is set:
            scope._child_scopes = _InOrder.fromkeys(children)  # type: ignore[union-attr]
