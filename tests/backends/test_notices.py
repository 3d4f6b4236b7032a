"""Notices inside of one process."""

from __future__ import annotations

import gc

from tests.helpers import run

from stepwell.backends.notices import Notices


def test_topics_that_nobody_listens_to_any_more_are_dropped() -> None:
    async def main() -> int:
        notices = Notices()
        kept = notices.listen("kept")
        for number in range(10_000):
            notices.listen(f"run:{number}")
        gc.collect()
        notices.ring(["kept"])
        await anext(kept)
        return len(notices._topics)

    assert run(main()) <= 200


def test_it_is_true_while_somebody_listens() -> None:
    async def main() -> list[bool]:
        notices = Notices()
        found = [bool(notices)]
        listener = notices.listen("a", "b")
        found.append(bool(notices))
        del listener
        gc.collect()
        return [*found, bool(notices)]

    assert run(main()) == [False, True, False]
