"""The mailbox: messages and waits meet in the order of both."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.helpers import run

from stepwell.engine.mailbox import Address, Mailbox, address_of, matches
from stepwell.errors import CodecError, NonDeterminismError, SealedError
from stepwell.model.entries import Dropped, Received
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    Event,
    HookCompleted,
    Message,
    Signal,
)

NUMBERS = Address("signal", "numbers")


def received(no: int, value: Any, name: str = "numbers") -> Received:
    message = Signal(name=name, value=msgspec.Raw(msgspec.json.encode(value)))
    return Received(no=no, id=MessageId(f"m{no}"), at=no, message=message)


def decode(message: Received) -> Any:
    value = msgspec.json.decode(message.message.value)  # type: ignore[union-attr]
    if value == "bad":
        raise CodecError("it is bad")
    return value


class Post:
    """A mailbox on the running loop, with what it dropped."""

    def __init__(self) -> None:
        self.dropped: list[Dropped] = []
        self.box = Mailbox(asyncio.get_running_loop().create_future, self.dropped.append)

    def put(self, *values: Any) -> None:
        for value in values:
            self.box.put(received(len(self.box.unread()) + 1, value))

    def waiting(self, **options: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(self.box.receive(NUMBERS, decode, **options))


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_messages_wait_for_whoever_asks() -> None:
    async def main() -> list[Any]:
        post = Post()
        post.put(1, 2)
        return [await post.waiting(), await post.waiting(), post.box.unread()]

    assert run(main()) == [1, 2, ()]


def test_whoever_asks_first_gets_the_first_message() -> None:
    async def main() -> list[Any]:
        post = Post()
        first, second = post.waiting(), post.waiting()
        await settle()
        post.put(1, 2)
        return [await first, await second]

    assert run(main()) == [1, 2]


def test_a_filter_leaves_other_messages_to_others() -> None:
    async def main() -> list[Any]:
        post = Post()
        picky = post.waiting(where={"n": 2})
        await settle()
        post.put({"n": 1}, "text", {"n": 2})
        return [await picky, [decode(message) for message in post.box.unread()]]

    assert run(main()) == [{"n": 2}, [{"n": 1}, "text"]]


def test_a_filter_looks_through_what_came_before() -> None:
    async def main() -> list[Any]:
        post = Post()
        post.put({"n": 1}, {"n": 2})
        absent = post.waiting(where={"n": 3})
        found = await post.waiting(where={"n": 2})
        absent.cancel()
        return [found, len(post.box.unread())]

    assert run(main()) == [{"n": 2}, 1]


@pytest.mark.parametrize("is_early", [True, False])
def test_a_message_that_does_not_fit_is_dropped_and_the_wait_goes_on(is_early: bool) -> None:
    async def main() -> list[Any]:
        post = Post()
        if is_early:
            post.put("bad", 1)
        waiter = post.waiting()
        await settle()
        if not is_early:
            post.put("bad", 1)
        return [await waiter, [note.reason for note in post.dropped]]

    assert run(main()) == [1, ["it is bad"]]


def test_giving_up_leaves_the_message_to_the_next() -> None:
    async def main() -> list[Any]:
        post = Post()
        gone, next_one = post.waiting(), post.waiting()
        await settle()
        gone.cancel()
        await settle()
        post.put(1)
        return [gone.cancelled(), await next_one]

    assert run(main()) == [True, 1]


def test_giving_up_at_the_last_moment_puts_the_message_back() -> None:
    async def main() -> list[Any]:
        post = Post()
        gone = post.waiting()
        await settle()
        post.put(1)
        gone.cancel()
        await settle()
        return [gone.cancelled(), await post.waiting()]

    assert run(main()) == [True, 1]


def test_giving_up_at_the_last_moment_hands_the_message_to_who_waits() -> None:
    async def main() -> list[Any]:
        post = Post()
        gone, next_one = post.waiting(), post.waiting()
        await settle()
        post.put(1)
        gone.cancel()
        return [await next_one, gone.cancelled()]

    assert run(main()) == [1, True]


def test_the_waits_are_told() -> None:
    async def main() -> list[Any]:
        post = Post()
        task = post.waiting(until=7, detail="why")
        await settle()
        told = post.box.waits()
        post.put(1)
        await task
        return [(wait.kind, wait.name, wait.until, wait.detail) for wait in told] + post.box.waits()

    assert run(main()) == [("signal", "numbers", 7, "why")]


@pytest.mark.parametrize(
    ("message", "address"),
    [
        (Signal(name="a", value=msgspec.Raw(b"1")), Address("signal", "a")),
        (Event(name="a", index=0, value=msgspec.Raw(b"1")), Address("event", "a")),
        (HookCompleted(base=1, command=CommandId("hook"), value=msgspec.Raw(b"1")), Address("token", "hook")),
        (ChildEnded(child=RunId("c"), base=1, command=CommandId("x"), status="failed"), Address("child", "x")),
        (CancelRequested(reason="", grace_ms=None), None),
    ],
)
def test_a_message_has_an_address_if_it_is_for_the_body(message: Message, address: Address | None) -> None:
    assert address_of(Received(no=1, id=MessageId("m"), at=1, message=message)) == address


def test_a_message_without_an_address_goes_nowhere() -> None:
    async def main() -> tuple[Received, ...]:
        box = Post().box
        box.put(Received(no=1, id=MessageId("m"), at=1, message=CancelRequested(reason="", grace_ms=None)))
        return box.unread()

    assert run(main()) == ()


@pytest.mark.parametrize(
    ("where", "payload", "is_match"),
    [
        (None, b"1", True),
        ({}, b"1", True),
        ({"a": 1}, b'{"a": 1, "b": 2}', True),
        ({"a": 1, "b": 3}, b'{"a": 1, "b": 2}', False),
        ({"a": None}, b"{}", False),
        ({"a": 1}, b"[1]", False),
    ],
)
def test_a_filter_compares_fields_exactly(where: dict[str, Any] | None, payload: bytes, is_match: bool) -> None:
    assert matches(where, msgspec.Raw(payload)) is is_match


def reversed_json(raw: msgspec.Raw) -> msgspec.Raw:
    data = bytes(raw)
    if not data.startswith(b'"'):
        raise SealedError("there is no key for it")
    return msgspec.Raw(msgspec.json.decode(data)[::-1].encode())


def test_a_filter_sees_the_plain_value() -> None:
    async def main() -> Any:
        box = Mailbox(asyncio.get_running_loop().create_future, [].append, plain=reversed_json)
        box.put(received(1, '{"n": 1}'[::-1]))
        box.put(received(2, '{"n": 2}'[::-1]))
        return await box.receive(NUMBERS, lambda item: item.no, where={"n": 2})

    assert run(main()) == 2


@pytest.mark.parametrize("where", [None, {"n": 1}])
def test_a_message_without_its_key_stops_the_run_and_is_not_dropped(where: dict[str, Any] | None) -> None:
    def sealed(message: Received) -> Any:
        raise SealedError("there is no key for it")

    async def main() -> list[Dropped]:
        dropped: list[Dropped] = []
        box = Mailbox(asyncio.get_running_loop().create_future, dropped.append, plain=reversed_json)
        box.put(received(1, {"n": 1}))
        with pytest.raises(NonDeterminismError, match=r"message m1 cannot be read; it is kept.*there is no key for it"):
            await box.receive(NUMBERS, sealed, where=where)
        return dropped

    assert run(main()) == []
