"""One reader of the store for all who follow the same thing in this process.

A feed keeps the last of what it has read, encoded, in a bounded buffer. Who is behind the buffer, because they began
early or are slow, reads the store for themselves, a page at a time, until they have caught up: they cost nobody else
anything. The feed ends when nobody follows it any more.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

ITEMS_MAX = 2_000
BYTES_MAX = 8 * 2**20
"""How much a feed keeps."""
_AT_ONCE = 50
_BATCH_MAX = 128 * 1024
"""How many bytes (about) a subscriber is handed at a time."""


class Item(Protocol):
    """Something that happened. Keys grow."""

    @property
    def key(self) -> Any:
        """Its place."""

    @property
    def size(self) -> int:
        """About how many bytes it takes."""


I = TypeVar("I", bound=Item)  # noqa: E741
_key = attrgetter("key")


class Feed(Generic[I]):
    """Reads one thing to its end. Items with keys above `floor` are in the buffer, or will be.

    A subclass reads, in `run`: it calls `begin` once, `add` for whatever comes, and `finish` at the end.
    """

    def __init__(self) -> None:
        self.floor: Any = None
        self.items: list[I] = []
        self.base = 0
        self.last_words: bytes | None = None
        self.error: BaseException | None = None
        self.is_over = False
        self.subscriptions: set[Subscription[I]] = set()
        self.holds = 0
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bytes = 0

    @abstractmethod
    async def run(self) -> None:
        """Read to the end."""

    def begin(self, floor: Any) -> None:
        """The buffer holds whatever comes after this key."""
        self.floor = floor
        if not self.began.done():
            self.began.set_result(None)

    def add(self, items: Sequence[I]) -> None:
        """More has happened."""
        self.items += items
        self._bytes += sum([item.size for item in items])
        if len(self.items) > ITEMS_MAX or self._bytes > BYTES_MAX:
            self._trim()
        self.tell()

    def finish(self, last_words: bytes) -> None:
        """Nothing more will come; this is the last that each subscriber gets."""
        self.last_words = last_words
        self.is_over = True
        self.tell()

    def fail(self, error: BaseException) -> None:
        """It cannot be read."""
        self.error = error
        self.is_over = True
        if not self.began.done():
            self.began.set_exception(error)
            self.began.exception()  # whoever waits for it is told; if nobody does, nobody need be
        self.tell()

    def tell(self) -> None:
        """Wake everybody, some in each turn of the loop: what the first write goes out while the next are woken, and
        whoever else has something to do is not held up."""
        self._wake(list(self.subscriptions), 0)

    def _wake(self, subscriptions: Sequence[Subscription[I]], start: int) -> None:
        end = start + _AT_ONCE
        for subscription in subscriptions[start:end]:
            subscription.wake()
        if end < len(subscriptions):
            asyncio.get_running_loop().call_soon(self._wake, subscriptions, end)

    def number_after(self, key: Any) -> int:
        """The number of the first item after this key, which the buffer must cover."""
        return self.base + bisect_right(self.items, key, key=_key)

    def _trim(self) -> None:
        """Drop the older half: so that this is seldom."""
        count, items = 0, self.items
        while count < len(items) - 1 and (len(items) - count > ITEMS_MAX // 2 or self._bytes > BYTES_MAX // 2):
            self._bytes -= items[count].size
            count += 1
        self.floor = items[count - 1].key if count else self.floor
        del items[:count]
        self.base += count


class Subscription(Generic[I]):
    """One reader of a feed. `last` is the key of what they have.

    A subclass reads pages of the store, in `page`, and says what bytes an item is to this reader.
    """

    def __init__(self, feed: Feed[I], last: Any, leave: Callable[[Subscription[I]], None]) -> None:
        self.feed = feed
        self.last = last
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._number = -1
        self._waiter: asyncio.Future[None] | None = None
        self._is_poked = False
        self._is_done = False

    @abstractmethod
    async def page(self) -> Sequence[I]:
        """The next items after `last` of the store: none, if it has none."""

    @abstractmethod
    def bytes_of(self, item: I) -> bytes:
        """As this reader gets it; nothing, if it is not for them."""

    async def take(self) -> bytes | None:
        """The next bytes; empty ones if somebody poked; None at the end. Raises what the feed met."""
        # Thousands of subscribers come through here for each event, so it calls little.
        feed = self.feed
        while not self._is_done:
            place = self._number - feed.base
            if place < 0:
                if not self._join() and (data := await self._caught_up()):
                    return data
            elif place < len(feed.items):
                if data := self._buffered(place):
                    return data  # else none of it was for this reader
            elif feed.is_over:
                return self._farewell()
            elif self._is_poked:
                self._is_poked = False
                return b""
            else:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
        return None

    def wake(self) -> None:
        """Look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def poke(self) -> None:
        """Let `take` return, if it waits."""
        self._is_poked = True
        self.wake()

    async def aclose(self) -> None:
        """Leave; idempotent."""
        self._is_done = True
        self._leave(self)

    def _join(self) -> bool:
        """Go on with the buffer, if that holds what comes next."""
        self._number = -1
        if self.last < self.feed.floor:
            return False
        self._number = self.feed.number_after(self.last)
        return True

    def _buffered(self, place: int) -> bytes:
        """What there is in the buffer from here on, up to a size."""
        items = self.feed.items
        if len(items) - place == 1:
            item = items[place]
            self._number += 1
            self.last = item.key
            return self.bytes_of(item)
        parts: list[bytes] = []
        size, start = 0, place
        while place < len(items) and size < _BATCH_MAX:
            parts.append(self.bytes_of(items[place]))
            size += len(parts[-1])
            place += 1
        self._number += place - start
        self.last = items[place - 1].key
        return b"".join(parts)

    async def _caught_up(self) -> bytes:
        """A page of the store."""
        items = await self.page()
        if not items:
            # The store has nothing between this reader and the buffer, as after a run was deleted and started anew.
            self.last = max(self.last, self.feed.floor)
            return b""
        self.last = items[-1].key
        return b"".join([self.bytes_of(item) for item in items])

    def _farewell(self) -> bytes:
        self._is_done = True
        if self.feed.last_words is None:
            assert self.feed.error is not None, "it is over"
            raise self.feed.error.with_traceback(None)
        return self.feed.last_words


S = TypeVar("S", bound=Subscription[Any])


class Feeds:
    """The feeds of this process, by what they read."""

    def __init__(self) -> None:
        self._feeds: dict[Hashable, tuple[Feed[Any], asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._feeds)

    async def subscribe(
        self,
        key: Hashable,
        make: Callable[[], Feed[Any]],
        join: Callable[[Any, Callable[[Any], None]], Awaitable[S]],
    ) -> S:
        """Follow the feed of this key, which `make` makes if there is none. Raises what it met before it began.

        `join` makes the subscription, once the feed has begun; its second argument is how that leaves.
        """
        feed = self._feed(key, make)

        def leave(subscription: Any = None) -> None:
            feed.subscriptions.discard(subscription)
            if not feed.subscriptions and not feed.holds:
                self._end(key, feed)

        feed.holds += 1
        try:
            await asyncio.shield(feed.began)  # others wait for it, too
            subscription = await join(feed, leave)
            feed.subscriptions.add(subscription)
        finally:
            feed.holds -= 1
            leave()
        return subscription

    async def aclose(self) -> None:
        """End all feeds."""
        self._feeds.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _feed(self, key: Hashable, make: Callable[[], Feed[Any]]) -> Feed[Any]:
        known = self._feeds.get(key)
        if known is not None:
            return known[0]
        feed = make()
        task = asyncio.get_running_loop().create_task(self._run(key, feed), name="stepwell feed")
        self._feeds[key] = (feed, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return feed

    async def _run(self, key: Hashable, feed: Feed[Any]) -> None:
        try:
            await feed.run()
        except Exception as error:  # everybody who follows is told
            feed.fail(error)
        finally:
            # Who comes now finds a new one; who is here has what this one kept.
            self._forget(key, feed)

    def _end(self, key: Hashable, feed: Feed[Any]) -> None:
        known = self._feeds.get(key)
        if known is not None and known[0] is feed:
            known[1].cancel()
            self._forget(key, feed)

    def _forget(self, key: Hashable, feed: Feed[Any]) -> None:
        known = self._feeds.get(key)
        if known is not None and known[0] is feed:
            del self._feeds[key]
