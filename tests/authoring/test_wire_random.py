"""Bodies of random shape at a step worker whose connections break: they come out as in the ordinary engine, and what
was written down is not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from stepwell import Stepwell, current_step
from stepwell.runtime.remote.targets import Target
from stepwell.testing.fixture import StepwellTest
from tests.engine import machines

_ORDERLY = {"seq", "gather", "step", "sleep", "saga", "try", "shield", "map", "child"}


async def _fate(*_: Any) -> int:
    """A value by the step's id, so that it is the same however often it runs."""
    return Random(current_step().id).randrange(100)


@pytest.fixture(autouse=True)
def fated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("work", "book", "unbook"):
        monkeypatch.setattr(getattr(machines, name), "__wrapped__", _fate)


class Connection:
    """The way to a worker, which breaks after some lines: in the middle of the answer, or before it."""

    def __init__(self, choice: Random) -> None:
        self.choice = choice
        self.worker: Any = None
        self.told: Counter[str] = Counter()

    async def __call__(self, body: bytes, headers: Any) -> Any:
        status, fields, answer = await self.worker.handle(body, headers)
        if isinstance(answer, bytes):
            return status, fields, answer
        return status, fields, self.lines(answer)

    async def lines(self, answer: Any) -> AsyncIterator[bytes]:
        left = self.choice.choice([1, 2, 3, 5, 1000, 1000])
        try:
            async for piece in answer:
                left -= 1
                if left == 0:
                    raise ConnectionResetError("the worker died")
                if piece.startswith(b'{"step"'):
                    self.told[piece.split(b'"')[5].decode()] += 1
                yield piece
        finally:
            await answer.aclose()


def is_orderly(plan: machines.Plan) -> bool:
    """Whether nothing in it depends on what comes first."""
    kind, *rest = plan
    return kind in _ORDERLY and all(is_orderly(part) for part in rest if isinstance(part, list))


def a_plan(choice: Random) -> machines.Plan:
    """One that is orderly, and has something in it."""
    while True:
        plan = machines.random_plan(choice, depth=4)
        if is_orderly(plan) and str(plan).count("step") >= 2:
            return plan


@pytest.mark.parametrize("seed", range(30))
def test_a_random_body_comes_out_as_in_the_ordinary_engine(seed: int) -> None:
    choice = Random(seed)
    plan = a_plan(choice)
    include = [machines.planned, machines.leaf]
    with StepwellTest() as test:
        expected = test.run_sync(machines.planned, plan).result
    connection = Connection(choice)
    with StepwellTest(targets=[Target(connection, workflows=["planned", "leaf"])]) as test:
        connection.worker = Stepwell("nowhere://", include=include, clock=test.clock).step_worker()

        async def main() -> Any:
            return await (await test.app.start("planned", plan, id="r1")).result()

        assert test.drive(main()) == expected
    assert all(count == 1 for count in connection.told.values())
