"""The journal of a run as events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from sys import maxsize
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.codec import Codec
from stepwell.model.entries import Ended, Frame
from stepwell.model.ids import RunId
from stepwell.runtime.client import Client
from stepwell.runtime.following import frames_after, run_frames
from stepwell.server.endpoints import ServerEvent
from stepwell.server.feeds.feed import Feed, Feeds, Subscription
from stepwell.server.problems import Problem
from stepwell.server.showing import entry_json
from stepwell.server.sse import event_bytes

Place = tuple[int, int]
"""A frame, and an entry of it: what a reader has. The last entry of a frame, whichever that is, has the number
`WHOLE`."""
WHOLE = maxsize
_KEPT_FRAMES = 500
_PAGE_FRAMES = 200
_PLACE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?")


class EntryEvent(Struct, frozen=True):
    """An entry as the wire has it."""

    key: Place
    data: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)


class RunEnd(Struct, frozen=True, kw_only=True):
    """The data of the event `end`."""

    run: RunId
    status: str


def journal_place(text: str) -> Place:
    """What a client has that says `7`, or `7.2`. `Problem` 400."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise Problem(400, "invalid_query", f"there is no event {text[:100]!r}: ids look like 7 or 7.2")
    seq, number = match.groups()
    return int(seq), WHOLE if number is None else int(number)


async def journal_events(feeds: Feeds, client: Client, run: RunId, last: Place) -> JournalSubscription:
    """Follow a run's journal from behind this place to its end. `RunNotFoundError`."""

    async def join(feed: JournalFeed, leave: Callable[[Any], None]) -> JournalSubscription:
        return JournalSubscription(feed, last, leave)

    return await feeds.subscribe((client, "journal", run), lambda: JournalFeed(client, run), join)


class JournalFeed(Feed[EntryEvent]):
    """Reads the journal of a run."""

    def __init__(self, client: Client, run: RunId) -> None:
        super().__init__()
        self.client = client
        self.run_id = run

    async def run(self) -> None:
        """To the run's end."""
        head = await self.client.head(self.run_id)
        after = max(0, head.seq - _KEPT_FRAMES)
        status: str = head.status
        self.begin((after, WHOLE))
        async for frames in run_frames(self.client, self.run_id, after=after):
            self.add(entry_events(frames, self.client.codec))
            entry = frames[-1][1].entries[-1]
            status = entry.status if isinstance(entry, Ended) else status
        data = msgspec.json.encode(RunEnd(run=self.run_id, status=status))
        self.finish(event_bytes(ServerEvent(event="end", data=data)))


class JournalSubscription(Subscription[EntryEvent]):
    """One reader of a journal."""

    feed: JournalFeed

    async def page(self) -> Sequence[EntryEvent]:
        """A few hundred frames."""
        client, (seq, number) = self.feed.client, self.last
        after = seq if number == WHOLE else seq - 1
        frames, _ = await frames_after(client, self.feed.run_id, after, limit=_PAGE_FRAMES)
        return [item for item in entry_events(frames, client.codec) if item.key > self.last]

    def bytes_of(self, item: EntryEvent) -> bytes:
        """The same for all."""
        return item.data


def entry_events(frames: Iterable[tuple[int, Frame]], codec: Codec) -> list[EntryEvent]:
    """The entries of frames. The id of a frame's last entry is that of the frame."""
    return [
        EntryEvent(
            (seq, number),
            event_bytes(
                ServerEvent(
                    id=str(seq) if number == len(frame.entries) - 1 else f"{seq}.{number}",
                    event=str(entry.__struct_config__.tag),
                    data=entry_json(entry, codec, seq=seq, at=frame.at),
                )
            ),
        )
        for seq, frame in frames
        for number, entry in enumerate(frame.entries)
    ]
