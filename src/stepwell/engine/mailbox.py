"""Messages on the program's side: who waits for what, and what came before anybody asked.

Matching depends on nothing but the order of the journal and of the body's calls, so it needs no entries of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import msgspec
from msgspec import Raw

from stepwell.errors import ActivationError, CodecError, NonDeterminismError, SealedError
from stepwell.model.entries import Dropped, Received
from stepwell.model.failures import NULL
from stepwell.model.messages import ChildEnded, Event, HookCompleted, Signal
from stepwell.model.runs import Wait


class Address(NamedTuple):
    """Where a message goes within its run."""

    kind: str
    name: str


class Waiter:
    """One pending wait. `decode` turns the message into what the body sees; `where` filters on its payload."""

    __slots__ = ("address", "decode", "detail", "future", "until", "where")

    def __init__(
        self,
        address: Address,
        future: asyncio.Future[Any],
        decode: Callable[[Received], Any],
        *,
        where: dict[str, Any] | None = None,
        until: int | None = None,
        detail: str = "",
    ) -> None:
        self.address = address
        self.future = future
        self.decode = decode
        self.where = where
        self.until = until
        self.detail = detail


def _raise(error: BaseException) -> NoReturn:
    raise error


class Mailbox:
    """Buffers and waiters by address, both first in, first out. `plain` gives the JSON of a payload; `refuse` must
    raise, and keep the run open: the key for a message is not here, which is no reason to drop it."""

    __slots__ = (
        "_buffers",
        "_drop",
        "_new_future",
        "_plain",
        "_refuse",
        "_refused",
        "_waiters",
    )

    def __init__(
        self,
        new_future: Callable[[], asyncio.Future[Any]],
        drop: Callable[[Dropped], None],
        *,
        plain: Callable[[Raw], Raw] = Raw,
        refuse: Callable[[ActivationError], NoReturn] = _raise,
    ) -> None:
        self._new_future = new_future
        self._drop = drop
        self._plain = plain
        self._refuse = refuse
        self._buffers: dict[Address, deque[Received]] = {}
        self._waiters: dict[Address, list[Waiter]] = {}
        self._refused: dict[Address, BaseException] | None = None  # seldom anything

    def put(self, received: Received) -> None:
        """Hand a message to the first waiter that it matches, or keep it."""
        address = address_of(received)
        if address is not None and not self._offer(address, received):
            self._buffers.setdefault(address, deque()).append(received)

    def refuse(self, address: Address, error: BaseException) -> None:
        """No message will come there: who waits, now or later, gets the error, after what is in the buffer."""
        self._refused = {**(self._refused or {}), address: error}
        for waiter in self._waiters.pop(address, ()):
            if not waiter.future.done():
                waiter.future.set_exception(error)

    async def receive(self, address: Address, decode: Callable[[Received], Any], **options: Any) -> Any:
        """Wait for the next message there; see `Waiter` for the options."""
        return await self.answered(self.enlist(address, decode, **options))

    def enlist(self, address: Address, decode: Callable[[Received], Any], **options: Any) -> Waiter:
        """Begin to wait. What is in the buffer answers at once."""
        waiter = Waiter(address, self._new_future(), decode, **options)
        self._enlist(waiter)
        return waiter

    async def answered(self, waiter: Waiter) -> Any:
        """The message that the waiter gets. A cancel gives it back."""
        try:
            _, value = await waiter.future
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise
        return value

    def _enlist(self, waiter: Waiter) -> None:
        buffer = self._buffers.get(waiter.address)
        while buffer:
            found = next((item for item in buffer if self._matches(waiter.where, item)), None)
            if found is None:
                break
            buffer.remove(found)
            if self._hand_over(waiter, found):
                return
        if self._refused is not None and (error := self._refused.get(waiter.address)) is not None:
            waiter.future.set_exception(error)
        else:
            self._waiters.setdefault(waiter.address, []).append(waiter)

    def _give_up(self, waiter: Waiter) -> None:
        waiting = self._waiters.get(waiter.address)
        if waiting and waiter in waiting:
            waiting.remove(waiter)
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            received, _ = future.result()
            if not self._offer(waiter.address, received):
                self._buffers.setdefault(waiter.address, deque()).appendleft(received)

    def unread(self) -> tuple[Received, ...]:
        """Everything that nobody has asked for, in order of arrival."""
        kept = [item for buffer in self._buffers.values() for item in buffer]
        return tuple(sorted(kept, key=lambda item: item.no))

    def waits(self) -> list[Wait]:
        """The pending waits, for people."""
        return [
            Wait(kind=waiter.address.kind, name=waiter.address.name, until=waiter.until, detail=waiter.detail)  # type: ignore[arg-type]
            for waiters in self._waiters.values()
            for waiter in waiters
            if not waiter.future.done()
        ]

    def _offer(self, address: Address, received: Received) -> bool:
        """Give the message to the first waiter that it matches. False: there is none."""
        for waiter in self._waiters.get(address, ()):
            if not waiter.future.done() and self._matches(waiter.where, received):
                if self._hand_over(waiter, received):
                    self._waiters[address].remove(waiter)
                return True
        return False

    def _hand_over(self, waiter: Waiter, received: Received) -> bool:
        try:
            value = waiter.decode(received)
        except SealedError as error:
            self._refuse(_unreadable(received, error))
        except CodecError as error:
            # The sender's mistake must not fail the run: the message is dropped, visibly, and the wait goes on.
            self._drop(Dropped(id=received.id, reason=str(error)))
            return False
        waiter.future.set_result((received, value))
        return True

    def _matches(self, where: dict[str, Any] | None, received: Received) -> bool:
        if not where:
            return True
        try:
            payload = self._plain(payload_of(received))
        except SealedError as error:
            self._refuse(_unreadable(received, error))
        return matches(where, payload)


def address_of(received: Received) -> Address | None:
    """Where this message goes, or None if it is not for the body."""
    message = received.message
    if isinstance(message, Signal):
        return Address("signal", message.name)
    if isinstance(message, Event):
        return Address("event", message.name)
    if isinstance(message, HookCompleted):
        return Address("token", message.command)
    if isinstance(message, ChildEnded):
        return Address("child", message.command)
    return None


def payload_of(received: Received) -> Raw:
    """The message's payload, or null."""
    return getattr(received.message, "value", NULL)


def matches(where: dict[str, Any] | None, payload: Raw) -> bool:
    """Whether each field that `where` names has exactly that value in the payload, a JSON object."""
    if not where:
        return True
    value = msgspec.json.decode(payload)
    return isinstance(value, dict) and all(name in value and value[name] == wanted for name, wanted in where.items())


def _unreadable(received: Received, error: SealedError) -> NonDeterminismError:
    return NonDeterminismError(f"message {received.id} cannot be read; it is kept, and the run resumable: {error}")
