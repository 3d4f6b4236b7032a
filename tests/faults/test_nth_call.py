"""The n-th failure loop: each call of each port goes wrong once, in each way, in a scenario per feature.

For n = 1, 2, 3, ... the n-th call of the worker, or of the client, fails before or after it took effect, or happens
twice; or the worker dies with it, and another one takes over. Whatever it was, the same must be in the journals at the
end, and nothing may be left over.
"""

from __future__ import annotations

import difflib
from collections import Counter
from functools import cache
from itertools import count

import msgspec
import pytest

from stepwell.testing.faults import How
from tests.faults import children, messages, steering, steps
from tests.faults.journal import Story, counted, journals_of, leftovers, story
from tests.faults.play import Fault, Play, Played, Scenario, Side, StuckError, play

SCENARIOS = {
    scenario.name: scenario
    for scenario in (*steps.SCENARIOS, *messages.SCENARIOS, *children.SCENARIOS, *steering.SCENARIOS)
}
WAYS: list[tuple[Side, How]] = [
    ("worker", "before"),
    ("worker", "after"),
    ("worker", "twice"),
    ("worker", "lost"),
    ("client", "before"),
    ("client", "after"),
    ("client", "twice"),
]
TOGETHER = [
    "plain steps",
    "a retried step",
    "a long sleep",
    "large payloads",
    "streams",
    "late signals",
    "a hook of one's own",
    "an awaited child",
    "cancel with cleanup",
    "start many",
    "a failed run restarted",
]
"""Played once more with client and worker in one process, where a start takes another way."""


class Seen(msgspec.Struct, frozen=True):
    """What was found when it was all over."""

    story: Story
    effects: Counter[str]
    complaints: list[str]


def _play(scenario: Scenario, fault: Fault | None) -> tuple[Played, Seen]:
    async def look(playing: Play, played: Played) -> Seen:
        journals = await journals_of(playing)
        # Clients write no journals. What several workers wrote shall replay like what one did.
        is_replayed = fault is None or fault.side != "client"
        complaints = [*played.complaints, *await leftovers(playing, journals, replay=is_replayed)]
        return Seen(await story(scenario, playing, played, journals), counted(played, journals), complaints)

    return play(scenario, fault, look)


@cache
def _undisturbed(name: str) -> Seen:
    _, seen = _play(SCENARIOS[name], None)
    assert not seen.complaints, "\n".join(seen.complaints)
    assert seen.story.answer == SCENARIOS[name].answer
    return seen


@pytest.mark.parametrize(("side", "how"), WAYS, ids=[f"{side}-{how}" for side, how in WAYS])
@pytest.mark.parametrize("name", SCENARIOS)
def test_whichever_call_goes_wrong_the_same_is_journaled(name: str, side: Side, how: How) -> None:
    _make_each_go_wrong(name, side, how)


@pytest.mark.parametrize("how", ["before", "after", "twice"])
@pytest.mark.parametrize("name", TOGETHER)
def test_client_and_worker_in_one_process_journal_the_same(name: str, how: How) -> None:
    _make_each_go_wrong(name, "both", how)


def _make_each_go_wrong(name: str, side: Side, how: How) -> None:
    usual = _undisturbed(name)

    for n in count(1):
        fault = Fault(side, how, n)
        try:
            played, seen = _play(SCENARIOS[name], fault)
        except StuckError as error:
            raise AssertionError(f"{fault}: {error}") from None
        problems = [*seen.complaints, *_differences(usual, seen, how)]
        if problems:
            pytest.fail("\n".join([f"call {n} of the {side} ({played.call}), {how}:", *problems]), pytrace=False)
        if not played.happened:
            break


def _differences(usual: Seen, seen: Seen, how: How) -> list[str]:
    found = list(_diff(usual.story, seen.story)) if usual.story != seen.story else []
    # A step is repeated only when its worker died before its result was durable, and then once.
    allowed = 1 if how == "lost" else 0
    for step, times in seen.effects.items():
        if not 0 <= times - usual.effects[step] <= allowed:
            found.append(f"{step} took effect {times} times, undisturbed {usual.effects[step]} times")
    return found


def _diff(usual: Story, seen: Story) -> list[str]:
    texts = [
        msgspec.json.format(msgspec.json.encode(item, order="sorted"), indent=1).decode() for item in (usual, seen)
    ]
    lines = [text.splitlines() for text in texts]
    return list(difflib.unified_diff(*lines, "undisturbed", "disturbed", n=4, lineterm=""))
