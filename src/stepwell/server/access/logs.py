"""Append-only logs that all servers of a backend share: streams of the backend, written by put-if-absent.

Their names hold a space, which no id of a run does, so they are in no run's way. The app of the default namespace keeps
them apart from what looks alike in others, such as the streams of a run "log" in a namespace "audit".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from stepwell.runtime.client import Client
from stepwell.runtime.patience import until_answered

T = TypeVar("T")

_PAGE = 1000


class Page(NamedTuple):
    """Records from one index on; `next` is the first index that is not in here."""

    items: tuple[bytes, ...]
    next: int


class Log:
    """One such stream. Two records that are alike mean the same: a record that is there counts as written.

    Writing repeats itself for half a minute, or with `is_patient` until it is done.
    """

    def __init__(self, client: Client, name: str, *, is_patient: bool = False) -> None:
        self._client = client
        self._is_patient = is_patient
        self._streams = client.backend.streams
        self._name = name

    async def append(self, records: Sequence[bytes]) -> int:
        """Write the records one after the other, and answer the index of the first. `BackendError`: perhaps written."""
        chunks = tuple(records)
        while True:
            index = await self._repeated(self.end)
            if await self.put(index, chunks):
                return index

    async def put(self, index: int, chunks: tuple[bytes, ...]) -> bool:
        """Write the records there; False if others are there. What is there already was written by this very call."""

        async def attempt() -> bool:
            if await self._streams.append(self._name, index, chunks):
                return True
            return (await self._streams.read(self._name, index, len(chunks))).items == chunks

        return await self._repeated(attempt)

    async def end(self) -> int:
        """The index of the next record."""
        return (await self._streams.read(self._name, -1, 1)).next

    async def page(self, start: int, limit: int) -> Page:
        """Up to so many records from `start`."""
        chunks = await self._streams.read(self._name, start, limit)
        return Page(chunks.items, chunks.next)

    async def rest(self, start: int) -> Page:
        """All records from `start`."""
        items: list[bytes] = []
        while True:
            page = await self.page(start + len(items), _PAGE)
            items += page.items
            if len(page.items) < _PAGE:
                return Page(tuple(items), start + len(items))

    async def _repeated(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self._is_patient:
            return await self._client.repeated(call)
        answer = await until_answered(f"writing {self._name!r}", call)
        assert answer is not None, "it is always wanted"
        return answer
