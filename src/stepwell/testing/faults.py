"""Backends whose calls go wrong on purpose.

A `FaultyBackend` hands each call of each port to a policy: an async function that gets the `Call` and decides whether,
when and how often it takes effect, and what is answered. A port that fails may have done it or not; callers have to
live with both, and with both again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, cast

from msgspec import Struct, structs

from stepwell.errors import BackendError
from stepwell.model.runs import Page
from stepwell.ports import (
    Backend,
    Blobs,
    Chunks,
    Clock,
    Coordination,
    Delivered,
    Queue,
    Store,
    StoreLimits,
    Streams,
    Taken,
)

WRITES = frozenset(
    {
        *(("store", name) for name in ("create", "take", "append", "park", "renew", "deliver", "delete")),
        *(("store", name) for name in ("reserve", "release")),
        *(("queue", name) for name in ("publish", "receive", "ack", "hide")),
        *(("coordination", name) for name in ("increment", "set_if_not_exist", "extend_ttl", "delete")),
        *(("blobs", name) for name in ("put", "delete")),
        *(("streams", name) for name in ("append", "close", "delete")),
    }
)
"""The calls that change something, by port and method."""


class Call(Struct, frozen=True):
    """One call of a port that has not happened yet. Each `apply` makes it happen, for real."""

    port: str
    method: str
    args: tuple[Any, ...]
    apply: Callable[[], Awaitable[Any]]

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return (self.port, self.method) in WRITES

    @property
    def name(self) -> str:
        """`store.append`, for instance."""
        return f"{self.port}.{self.method}"


Policy = Callable[[Call], Awaitable[Any]]
"""Decides about a call, and answers it."""


How = Literal["before", "after", "twice", "lost"]


class NthCall:
    """A policy: the `n`-th call (from 1) of the method `name` (such as "store.append"; None: of any write, with `reads`
    of any method) goes wrong.

    "before": it fails and had no effect. "after": it had its effect, and fails. "twice": it happens twice, and the
    second answer counts. "lost": it had its effect, and its process dies before the answer comes: from then on nothing
    happens any more, each call is answered with what makes its caller stop, and `dead` is set. `happened` tells whether
    it has come to that, `call` which method it was.
    """

    def __init__(self, n: int, how: How, *, name: str | None = None, reads: bool = False) -> None:
        self.n = n
        self.how = how
        self.name = name
        self.reads = reads
        self.count = 0
        self.call = ""
        self.dead = asyncio.Event()

    @property
    def happened(self) -> bool:
        """Whether the n-th call was made."""
        return self.count >= self.n

    async def __call__(self, call: Call) -> Any:
        if self.dead.is_set():
            return last_words(call)
        if not self._counts(call):
            return await call.apply()
        self.count += 1
        if self.count != self.n:
            return await call.apply()
        self.call = call.name
        return await self._wrong(call)

    def _counts(self, call: Call) -> bool:
        return call.name == self.name if self.name is not None else self.reads or call.is_write

    async def _wrong(self, call: Call) -> Any:
        if self.how != "before":
            await call.apply()
            if self.how == "twice":
                return await call.apply()
            if self.how == "lost":
                self.dead.set()
                return last_words(call)
        raise BackendError(f"{call.name} fails on purpose, {self.how} it took effect")


def last_words(call: Call) -> Any:
    """What a call of a dead process answers to its own code: whatever makes it let go without a fuss."""
    match call.name:
        case "store.take":
            return Taken((), 0)
        case "store.append" | "store.park":
            return ["lost"] * len(call.args[0])
        case "store.renew" | "store.load" | "store.create":
            return [None] * len(call.args[0])
        case "store.deliver":
            return [Delivered("closed")] * len(call.args[0])
        case "store.reserve":
            return call.args[1]
        case "store.search":
            return Page(())
        case "streams.read":
            return Chunks((), 0)
        case "store.peek_due" | "queue.receive":
            return []
        case "streams.append":
            return True
        case _:
            return None


class FaultyBackend:
    """A backend around another one, all of whose calls go through a policy."""

    def __init__(self, inner: Backend, policy: Policy) -> None:
        self.inner = inner
        self.store = cast(Store, _Port("store", inner.store, policy))
        self.queue = cast(Queue, _Port("queue", inner.queue, policy))
        self.coordination = cast(Coordination, _Port("coordination", inner.coordination, policy))
        self.blobs = cast(Blobs, _Port("blobs", inner.blobs, policy))
        self.streams = cast(Streams, _Port("streams", inner.streams, policy))

    @property
    def url(self) -> str:
        """The inner one's."""
        return self.inner.url

    @property
    def is_embedded(self) -> bool:
        """The inner one's."""
        return self.inner.is_embedded

    @property
    def clock(self) -> Clock:
        """The inner one's."""
        return self.inner.clock

    async def close(self) -> None:
        """Close the inner one; closing never fails on purpose."""
        await self.inner.close()


class _Port:
    """A port whose async methods go through the policy; the rest (`listen`, most of `limits`) is the inner one's."""

    def __init__(self, name: str, inner: object, policy: Policy) -> None:
        self._name = name
        self._inner = inner
        self._policy = policy

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._inner, method)
        if isinstance(found, StoreLimits):
            return structs.replace(found, is_immediate=False)  # a policy may wait
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._policy(Call(self._name, method, args, partial(found, *args, **kwargs)))

        return call
