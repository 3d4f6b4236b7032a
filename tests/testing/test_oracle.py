"""Which results are right: what some execution without faults gives, and nothing else."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from stepwell.testing.simulator.oracle import fits, may_raise, may_return
from stepwell.testing.simulator.plans import (
    Again,
    Child,
    Do,
    Gather,
    Group,
    Limit,
    Map,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Sleep,
    Try,
    Wait,
    random_root,
)
from stepwell.testing.simulator.playing import ATTEMPTS

A, B, BAD = Do("a"), Do("b"), Do("c", fails=ATTEMPTS)
GOT_A, GOT_B = ["do", "a~1~"], ["do", "b~2~"]

RIGHT: list[tuple[Plan, Any]] = [
    (A, GOT_A),
    (Sleep(5), ["slept"]),
    (Seq((A, B)), ["seq", GOT_A, GOT_B]),
    (Gather((A, B)), ["gather", GOT_A, GOT_B]),
    (Group((A, B)), ["group", GOT_A, GOT_B]),
    (Group((A, BAD)), ["group failed"]),
    (Race((A, B)), ["race", [1, GOT_B]]),
    (Race((A, BAD)), ["race", [1, "raised"]]),
    (Map(2, 1), ["map", "m0~1~", "m1~2~"]),
    (Limit(5, A), ["late"]),
    (Limit(5, A), ["in time", GOT_A]),
    (Try(A), ["fine", GOT_A]),
    (Try(BAD), ["failed"]),
    (Saga(A, fails=False), ["saga", "x~1~", GOT_A, "y~3~"]),
    (Saga(A, fails=True), ["undone"]),
    (Wait("ping", 5), ["none", "ping"]),
    (Wait("ping"), ["got", "ping", "r0-1"]),
    (Child(A, "await"), ["child", GOT_A]),
    (Child(A, "cancel"), ["child", GOT_A]),
    (Child(A, "cancel"), ["stopped", "RunCancelledError"]),
    (Child(A, "leave"), ["started"]),
]
WRONG: list[tuple[Plan, Any]] = [
    (A, None),
    (A, []),
    (A, ["do", "b~1~"]),
    (A, ["slept"]),
    (BAD, ["do", "c~1~"]),
    (Sleep(5), ["late"]),
    (Seq((A, B)), ["seq", GOT_B, GOT_A]),
    (Seq((A, B)), ["seq", GOT_A]),
    (Gather((A, B)), ["gather", GOT_A, GOT_A]),
    (Group((A, B)), ["group failed"]),
    (Race((A, B)), ["race"]),
    (Race((A, B)), ["race", [0, GOT_B]]),
    (Race((A, B)), ["race", [0, "raised"]]),
    (Map(2, 1), ["map", "m1~1~", "m0~2~"]),
    (Map(2, 1), ["map", "m0~1~"]),
    (Limit(5, A), ["in time", GOT_B]),
    (Try(A), ["failed"]),
    (Try(A), ["fine", GOT_B]),
    (Saga(A, fails=False), ["undone"]),
    (Saga(A, fails=True), ["saga", "x~1~", GOT_A, "y~3~"]),
    (Wait("ping"), ["none", "ping"]),
    (Wait("ping", 5), ["got", "pong", "r0-1"]),
    (Note("x"), ["note", "y", 1, True]),
    (Child(A, "await"), ["child", GOT_B]),
    (Child(A, "cancel"), ["stopped", "RunFailedError"]),
    (Again(A), GOT_A),
]


@pytest.mark.parametrize(("plan", "value"), RIGHT)
def test_right_values_fit(plan: Plan, value: Any) -> None:
    assert fits(plan, value)


@pytest.mark.parametrize(("plan", "value"), WRONG)
def test_wrong_values_do_not_fit(plan: Plan, value: Any) -> None:
    assert not fits(plan, value)


@pytest.mark.parametrize("plan", [BAD, Seq((A, BAD)), Gather((BAD,)), Limit(5, BAD), Saga(BAD, fails=False)])
def test_what_may_fail(plan: Plan) -> None:
    assert may_raise(plan)
    assert not may_raise(Try(plan))
    assert may_return(Try(plan))


@pytest.mark.parametrize("plan", [A, Sleep(5), Do("a", fails=ATTEMPTS - 1), Child(BAD, "leave"), Group((BAD,))])
def test_what_may_not_fail(plan: Plan) -> None:
    assert not may_raise(plan)
    assert may_return(plan)


def test_what_fails_for_sure_has_no_value() -> None:
    assert not may_return(Seq((A, BAD)))


def test_plans_of_the_same_chance_are_the_same() -> None:
    assert random_root(Random(3)) == random_root(Random(3))
