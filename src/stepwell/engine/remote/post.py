"""Messages on the side of a remote program: what came before anybody asked, by address, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.engine.mailbox import Address, address_of, matches, payload_of
from stepwell.engine.remote.calls import WaitRequest
from stepwell.model.entries import Received
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId

_KINDS = {"EVENT": "event", "SIGNAL": "signal", "MANUAL": "token", "RUN": "child"}


def address_for(wait: WaitRequest) -> Address | None:
    """Where what ends this wait comes in; None: only time ends it."""
    if wait.kind == "DATETIME":
        return None
    return Address(_KINDS[wait.kind], wait.id if wait.kind == "RUN" else wait.name)


def child_command(wait: WaitRequest) -> CommandId:
    """The command that starts the child that a wait is for."""
    return CommandId(wait.id)


class Post:
    """What is kept for waits to come. `plain` opens a payload."""

    __slots__ = ("_kept", "_plain")

    def __init__(self, plain: Callable[[Raw], Raw]) -> None:
        self._plain = plain
        self._kept: dict[Address, deque[Received]] = {}

    def keep(self, received: Received) -> None:
        """Keep a message, if it is for the body."""
        address = address_of(received)
        if address is not None:
            self._kept.setdefault(address, deque()).append(received)

    def take(self, wait: WaitRequest, until: int | None) -> Received | None:
        """The first message that ends the wait and came before `until` (ms)."""
        address = address_for(wait)
        kept = None if address is None else self._kept.get(address)
        found = next(
            (item for item in kept or () if self.fits(wait, item) and (until is None or item.at <= until)), None
        )
        if found is not None and kept is not None:
            kept.remove(found)
        return found

    def addressee(self, waits: Iterable[WaitRequest], received: Received) -> WaitRequest | None:
        """The first of the waits that the message ends."""
        address = address_of(received)
        if address is None:
            return None
        return next((wait for wait in waits if address_for(wait) == address and self.fits(wait, received)), None)

    def fits(self, wait: WaitRequest, received: Received) -> bool:
        """Whether an event has the fields that the wait wants."""
        if wait.where == NULL:
            return True
        wanted: dict[str, Any] = msgspec.json.decode(wait.where)
        return matches(wanted, self._plain(payload_of(received)))
