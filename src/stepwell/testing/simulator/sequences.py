"""Messages of runs that do one thing at a time: there it can be told exactly who must have had which.

Where waits race each other, any of them may take a message. In a plan without such things, the waits of a name take the
messages of that name in the order in which they were journaled, and none of them ends empty-handed before its time
while there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stepwell.model.entries import ContinuedAsNew, Entry, Received, TimerFired
from stepwell.model.messages import Signal
from stepwell.testing.simulator.dues import name_of
from stepwell.testing.simulator.plans import SIGNALS, Collect, Do, Map, Note, Plan, Saga, Seq, Shield, Sleep, Wait


def is_sequential(plan: Plan) -> bool:
    """Whether it waits for one thing at a time, and its value holds what each wait gave."""
    match plan:
        case Do() | Sleep() | Map() | Note() | Wait() | Collect():
            return True
        case Seq(plans=plans):
            return all(is_sequential(each) for each in plans)
        case Saga(plan=inner, fails=False) | Shield(plan=inner):
            return is_sequential(inner)
        case _:
            return False


def wrong_order(plan: Plan, entries: Sequence[Entry], value: Any) -> Iterator[str]:
    """What is wrong about who got what, in the result of a completed run."""
    if not is_sequential(plan) or any(isinstance(entry, ContinuedAsNew) for entry in entries):
        return
    for name in SIGNALS:
        sent: list[str] = []
        answers = list(_answers(value, name))
        times = [number for number, answer in enumerate(answers) if answer is None]
        for entry in entries:
            if isinstance(entry, Received) and isinstance(entry.message, Signal) and entry.message.name == name:
                sent.append(msgspec.json.decode(bytes(entry.message.value)).rstrip("x"))
            elif isinstance(entry, TimerFired) and name_of(entry.name) == name and times:
                taken = sum(answer is not None for answer in answers[: times.pop(0)])
                if len(sent) > taken:
                    yield f"a wait for {name} timed out, although {sent[taken:]} had come before"
        got = [answer for answer in answers if answer is not None]
        if got != sent[: len(got)]:
            yield f"of {name}, {sent} came, and {got} were taken"


def _answers(value: Any, name: str) -> Iterator[str | None]:
    """What the waits of that name gave, in order; None for those that timed out."""
    if not isinstance(value, list):
        return
    if value[:2] == ["got", name]:
        yield value[2]
    elif value == ["none", name]:
        yield None
    elif value[:1] not in (["child"], ["told"], ["away"]):
        for item in value:
            yield from _answers(item, name)
