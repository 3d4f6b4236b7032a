"""Backends whose calls go wrong on purpose."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from stepwell import BackendError, backends
from stepwell.testing import Call, FaultyBackend, NthCall
from stepwell.testing.contracts.running import message, new_run
from tests.helpers import run


async def _second_delivery(how: Literal["before", "after", "twice"]) -> tuple[object, int]:
    backend = FaultyBackend(await backends.open("memory://"), NthCall(2, how, name="store.deliver"))
    await backend.store.create([new_run()])
    await backend.store.deliver([message("first")])
    try:
        (answer,) = await backend.store.deliver([message("second")])
        said: object = answer.answer
    except BackendError as error:
        said = str(error)
    (found,) = (await backend.store.search(_all())).runs
    await backend.close()
    return said, found.mail


def _all() -> Any:
    from stepwell import RunQuery

    return RunQuery()


@pytest.mark.parametrize(
    ("how", "said", "mail"),
    [
        ("before", "store.deliver fails on purpose, before it took effect", 1),
        ("after", "store.deliver fails on purpose, after it took effect", 2),
        ("twice", "duplicate", 2),
    ],
)
def test_the_nth_call_goes_wrong(how: Literal["before", "after", "twice"], said: str, mail: int) -> None:
    assert run(_second_delivery(how)) == (said, mail)


def test_without_a_name_every_write_counts() -> None:
    async def main() -> bool:
        policy = NthCall(2, "before")
        backend = FaultyBackend(await backends.open("memory://"), policy)
        await backend.store.create([new_run()])
        await backend.store.search(_all())
        with pytest.raises(BackendError):
            await backend.blobs.put("key", b"data")
        assert await backend.blobs.get("key") is None
        return policy.happened

    assert run(main())


def test_with_reads_every_call_counts() -> None:
    async def main() -> str:
        policy = NthCall(2, "before", reads=True)
        backend = FaultyBackend(await backends.open("memory://"), policy)
        await backend.store.create([new_run()])
        with pytest.raises(BackendError):
            await backend.store.search(_all())
        return policy.call

    assert run(main()) == "store.search"


def test_a_lost_call_takes_effect_and_is_the_last_of_its_process() -> None:
    async def main() -> tuple[int, int]:
        policy = NthCall(2, "lost")
        inner = await backends.open("memory://")
        backend = FaultyBackend(inner, policy)
        await backend.store.create([new_run()])
        await backend.store.deliver([message("first")])
        await backend.store.deliver([message("second")])

        assert policy.dead.is_set()
        (head,) = (await inner.store.search(_all())).runs
        return head.mail, len((await backend.store.search(_all())).runs)

    assert run(main()) == (1, 0)


def test_a_policy_sees_every_call() -> None:
    seen: list[tuple[str, bool]] = []

    async def policy(call: Call) -> Any:
        seen.append((call.name, call.is_write))
        return await call.apply()

    async def main() -> None:
        backend = FaultyBackend(await backends.open("memory://"), policy)
        await backend.streams.append("s", 0, [b"chunk"])
        await backend.streams.read("s", 0, 1)

    run(main())
    assert seen == [("streams.append", True), ("streams.read", False)]
