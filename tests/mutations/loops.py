"""The n-th failure loop as a weather: its scenarios have one right answer each, which random ones have not."""

from __future__ import annotations

from tests.faults.play import Fault, StuckError
from tests.faults.test_nth_call import SCENARIOS, WAYS, _differences, _play, _undisturbed

PREFIX = "loop: "
LOOPS = {f"{PREFIX}{name}, {side} {how}": (name, side, how) for side, how in WAYS for name in SCENARIOS}


def prepare(weather: str) -> None:
    """Play the scenario while there is no bug: what is different afterwards is wrong."""
    _undisturbed(LOOPS[weather][0])


def look_at_play(weather: str, n: int) -> str | None:
    """What is wrong when the n-th call goes wrong (0: none does). Empty: nothing. None: there is no such call."""
    name, side, how = LOOPS[weather]
    fault = Fault(side, how, n) if n else None
    try:
        played, seen = _play(SCENARIOS[name], fault)
    except StuckError as error:
        return str(error)
    problems = [*seen.complaints, *_differences(_undisturbed(name), seen, how)]
    if not problems and n and not played.happened:
        return None
    return "; ".join(line for line in problems if line[:2] not in ("--", "++", "@@", "  "))
