"""Event streams, cut into events however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.client import feeds
from stepwell.client.feeds import Feed, FeedEvent
from stepwell.errors import BackendError


def events(*pieces: bytes) -> list[FeedEvent]:
    feed = Feed()
    return [event for piece in pieces for event in feed.take(piece)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"data: a\n\n", [FeedEvent("message", b"a")]),
        (b"id: 7\nevent: chunk\ndata: a\n\n", [FeedEvent("chunk", b"a", "7")]),
        (b"data:a\n\n", [FeedEvent("message", b"a")]),
        (b"data:  a\n\n", [FeedEvent("message", b" a")]),
        (b"data: a\ndata: b\n\n", [FeedEvent("message", b"a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [FeedEvent("message", b"a")]),
        (b": ping\n\ndata: a\n\n", [FeedEvent("message", b"a")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [FeedEvent("message", b"a", "1"), FeedEvent("message", b"b", "1")]),
        (b"id: 1\n\ndata: b\n\n", [FeedEvent("message", b"b", "1")]),
        (b"id: 1\0\ndata: b\n\n", [FeedEvent("message", b"b")]),
        (b"event: chunk\n\ndata: a\n\n", [FeedEvent("message", b"a")]),
        (b"retry: 5\nnonsense\ndata: a\r\n\r\n", [FeedEvent("message", b"a")]),
        (b"data: a\r\rdata: b\n\n", [FeedEvent("message", b"a"), FeedEvent("message", b"b")]),
        ("data: \u2028\u0085\n\n".encode(), [FeedEvent("message", "\u2028\u0085".encode())]),
        (b"data: unfinished\n", []),
    ],
)
def test_events_are_read_as_the_standard_says(text: bytes, found: list[FeedEvent]) -> None:
    assert events(text) == found


@given(st.lists(st.sampled_from([b"data: a", b"id: 1", b": x", b"", b"event: e", b"data"]), max_size=12), st.data())
def test_it_does_not_matter_how_the_bytes_come(lines: list[bytes], data: st.DataObject) -> None:
    ends = [data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"])) for _ in lines]
    text = b"".join(line + end for line, end in zip(lines, ends, strict=True)) + b"data: z\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert events(*pieces) == events(text)


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_EVENT", 100)

    with pytest.raises(BackendError, match="100 bytes"):
        events(b"data: " + b"a" * 60, b"a" * 60)
