"""Messages on a graph's side: which visits wait for what, and what came before anybody asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from stepwell.engine.graph.visits import Visit
from stepwell.engine.mailbox import Address, address_of
from stepwell.model.entries import Received
from stepwell.model.runs import Wait


class Inbox:
    """Buffers and waiting visits by address, both first in, first out."""

    __slots__ = ("_buffers", "_waiting")

    def __init__(self) -> None:
        self._buffers: dict[Address, deque[Received]] = {}
        self._waiting: dict[Address, list[Visit]] = {}

    def put(self, received: Received) -> Visit | None:
        """The visit that gets the message; None: it is kept, or is for nobody."""
        address = address_of(received)
        if address is None:
            return None
        waiting = self._waiting.get(address)
        if waiting:
            visit = waiting[0]
            self.withdraw(visit)
            return visit
        self._buffers.setdefault(address, deque()).append(received)
        return None

    def listen(self, visit: Visit, addresses: Iterable[Address]) -> Received | None:
        """What is there already for one of these addresses; else the visit waits at all of them."""
        addresses = list(addresses)
        for address in addresses:
            if buffer := self._buffers.get(address):
                received = buffer.popleft()
                if not buffer:
                    del self._buffers[address]
                return received
        for address in addresses:
            self._waiting.setdefault(address, []).append(visit)
        return None

    def withdraw(self, visit: Visit) -> None:
        """The visit waits no longer."""
        for address in [address for address, waiting in self._waiting.items() if visit in waiting]:
            waiting = self._waiting[address]
            waiting.remove(visit)
            if not waiting:
                del self._waiting[address]

    def waits(self) -> list[Wait]:
        """Who waits for what, for people."""
        return [
            Wait(kind=address.kind, name=address.name, until=visit.until, detail=visit.id)  # type: ignore[arg-type]
            for address, waiting in self._waiting.items()
            for visit in waiting
            if address.kind != "child"
        ]

    def __bool__(self) -> bool:
        return bool(self._waiting)
