"""Which line a message names."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.engine.loops import Run, forever, park

from stepwell.engine.places import place_of


def test_where_names_the_innermost_line_of_user_code() -> None:
    async def inner() -> None:
        await asyncio.wait_for(asyncio.sleep(5), 10)

    async def outer() -> None:
        await inner()

    run = park(outer)
    line = inner.__code__.co_firstlineno + 1
    assert run.loop.where(run.task) == f"test_places.py:{line}, in inner"
    run.loop.evict()


def test_where_knows_a_task_that_has_not_started() -> None:
    run = Run(forever)
    assert run.loop.where(run.task).startswith("loops.py:")
    run.loop.evict()


def test_where_has_no_line_for_a_finished_task() -> None:
    run = Run(lambda: asyncio.sleep(0))
    run.finish()
    assert run.loop.where(run.task) == "an unknown place"


def test_an_installed_package_is_named_only_if_there_is_nothing_better() -> None:
    frames = []

    def look(filename: str) -> None:
        scope: dict[str, Any] = {"frames": frames, "sys": sys}
        exec(  # noqa: S102
            compile("def checkout(): frames.append(sys._getframe())\ncheckout()", filename, "exec"), scope
        )

    look("/usr/lib/python3/site-packages/shop/orders.py")
    look(asyncio.__file__)
    assert place_of(reversed(frames[:1])) == "orders.py:1, in checkout"
    assert place_of(reversed(frames)) == "orders.py:1, in checkout"
