"""However connections break, nothing comes twice and nothing is missing."""

from __future__ import annotations

import httpx
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stepwell.authoring.messages import Stream
from stepwell.client import Client, SyncClient
from tests.client.support import KEY, URL, feed, play

WORDS = Stream("words", int)
COUNT = 12

breaks = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["cut", "ended", "refused", "busy"]), st.integers(0, 2)), max_size=12
)


class Flaky:
    """A server whose connections break: each gives so many chunks, and ends so. It may send some again."""

    def __init__(self, breaks: list[tuple[int, str, int]]) -> None:
        self._breaks = iter(breaks)
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        last = request.headers.get("last-event-id")
        count, way, again = next(self._breaks, (COUNT, "whole", 0))
        if way == "refused":
            raise httpx.ConnectError("refused")
        if way == "busy":
            return httpx.Response(503, json={"code": "draining"}, headers={"retry-after": "1"})
        first = max(0, (-1 if last is None else int(last)) + 1 - again)
        chunks = [self._chunk(index) for index in range(first, min(COUNT, first + count))]
        is_whole = first + count >= COUNT
        error = httpx.ReadError("reset") if way == "cut" and not is_whole else None
        return feed(*chunks, *(["event: end\ndata: {}"] if is_whole else []), error=error)

    def _chunk(self, index: int) -> str:
        data = msgspec.json.encode({"index": index, "value": index, "source": "", "attempt": 1, "restarts": False})
        return f"id: {index}\nevent: chunk\ndata: {data.decode()}"


@given(breaks)
def test_each_chunk_comes_once_and_in_order(breaks: list[tuple[int, str, int]]) -> None:
    async def test() -> list[int]:
        async with Client(URL, key=KEY, transport=Flaky(breaks).transport) as app:
            return [word async for word in app.handle("one").stream(WORDS)]

    assert play(test()) == list(range(COUNT))


def test_the_twin_reads_the_same() -> None:
    broken = [(2, "cut", 0), (0, "refused", 0), (3, "ended", 1)]

    with SyncClient(URL, key=KEY, transport=Flaky(broken).transport) as s:
        assert list(s.handle("one").stream(WORDS)) == list(range(COUNT))
