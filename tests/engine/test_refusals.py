"""What a body cannot do on its loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from tests.engine.loops import finish, park

from stepwell.engine.loop import WorkflowLoop
from stepwell.errors import ActivationError, NotDurableError

REFUSED = sorted(
    name
    for name in vars(asyncio.AbstractEventLoop)
    if getattr(getattr(WorkflowLoop, name, None), "__qualname__", "").startswith("_refused")
)


def test_every_method_of_an_event_loop_is_defined_or_refused() -> None:
    inherited = [
        name
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if not name.startswith("_") and getattr(WorkflowLoop, name) is value
    ]
    assert inherited == []
    assert len(REFUSED) >= 35


@pytest.mark.parametrize("name", REFUSED)
def test_what_reaches_the_world_is_refused_with_the_place(name: str) -> None:
    async def body() -> None:
        getattr(asyncio.get_running_loop(), name)()

    with pytest.raises(NotDurableError, match=rf"run run-1: loop.{name}\(\) at test_refusals.py:\d+, in body: "):
        park(body)


def test_a_swallowed_refusal_fails_the_activation_all_the_same() -> None:
    async def body() -> str:
        try:
            await asyncio.to_thread(print)
        except BaseException:
            return "swallowed"
        return "ran"

    with pytest.raises(NotDurableError, match="do this in a step"):
        park(body)


def test_only_the_first_violation_counts() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ActivationError):
            await loop.getaddrinfo("localhost", 80)
        await asyncio.open_connection("localhost", 80)

    with pytest.raises(NotDurableError, match="getaddrinfo"):
        park(body)


def test_a_body_that_retries_a_refused_call_for_ever_is_stopped() -> None:
    async def body() -> None:
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.to_thread(print)

    with pytest.raises(NotDurableError):
        park(body)


def test_a_library_is_passed_over_in_the_place() -> None:
    async def body() -> None:
        await asyncio.create_subprocess_exec("true")

    with pytest.raises(NotDurableError, match=r"subprocess_exec\(\) at test_refusals.py:\d+, in body"):
        park(body)


def test_a_call_from_another_thread_is_found_at_the_next_pump() -> None:
    loop = WorkflowLoop()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(print,))
    thread.start()
    thread.join()
    with pytest.raises(NotDurableError, match="call_soon_threadsafe"):
        loop.pump()


def test_a_body_cannot_pump_or_evict_its_own_loop() -> None:
    async def body(method: str) -> None:
        getattr(asyncio.get_running_loop(), method)()

    for method in ("pump", "evict"):
        with pytest.raises(AssertionError):
            finish(lambda method=method: body(method))  # type: ignore[misc]


def test_questions_about_the_loop_are_answered() -> None:
    loop = WorkflowLoop(name="r")
    assert (loop.is_closed(), loop.get_debug(), loop.get_task_factory()) == (False, False, None)
    loop.set_debug(True)
    assert not loop.get_debug()
    assert repr(loop) == "<WorkflowLoop r>"
    asyncio.run(loop.shutdown_asyncgens())
    asyncio.run(loop.shutdown_default_executor())
