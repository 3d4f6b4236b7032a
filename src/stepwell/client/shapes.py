"""The JSON of a server as the values that one gets in process, and the other way round.

Over HTTP payloads are plain JSON. In process a value that looks like a mark of ours is wrapped; so it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, structs

from stepwell.client.answers import decoded, error_of
from stepwell.codec import Codec
from stepwell.engine.graph.events import GraphEvent
from stepwell.engine.graph.state import GraphState
from stepwell.engine.timeline import Timeline
from stepwell.errors import DefinitionError
from stepwell.model.entries import Ended
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.runtime.bulk import RunResult
from stepwell.runtime.explaining import Explanation
from stepwell.runtime.reading import StreamChunk

T = TypeVar("T")


class RunName(Struct, frozen=True):
    """The run that was meant, or made."""

    run: RunId


class StartedRun(Struct, frozen=True):
    """The run that was started."""

    id: RunId


class Published(Struct, frozen=True):
    """How many were waiting."""

    waiting: int


class Accepted(Struct, frozen=True):
    """Whether the answer was the first."""

    accepted: bool


class AccessToken(Struct, frozen=True):
    """A token. Whoever has it may do what it allows until `expires_at` (ms since the epoch)."""

    token: str
    expires_at: int

    def __repr__(self) -> str:
        return f"AccessToken(<hidden>, expires_at={self.expires_at})"


class _Outcome(Struct, frozen=True, kw_only=True):
    status: str
    value: Raw = NULL
    failure: Failure | None = None
    reason: str = ""


class _Chunk(Struct, frozen=True, kw_only=True):
    index: int
    value: Raw
    source: str = ""
    attempt: int = 1
    restarts: bool = False


class _NodeEvents(Struct, frozen=True):
    events: list[GraphEvent]


class _Result(Struct, frozen=True):
    run: RunId
    ok: bool
    new: RunId | None = None
    error: str = ""
    code: str = ""


class _Results(Struct, frozen=True):
    results: list[_Result]
    cursor: str | None = None


class Results(Struct, frozen=True):
    """What a bulk verb did to some runs; `cursor` leads to the others."""

    results: list[RunResult]
    cursor: str | None = None


def reader(kind: type[T]) -> Callable[[bytes, str], T]:
    """A function from an answer, and what was asked, to its value. `BackendError` if it is none."""
    decoder = msgspec.json.Decoder(kind)

    def read(body: bytes, asked: str) -> T:
        return decoded(decoder, body, asked=asked)  # type: ignore[no-any-return]

    return read


read_run_name = reader(RunName)
read_started = reader(StartedRun)
read_published = reader(Published)
read_accepted = reader(Accepted)
read_token = reader(AccessToken)
read_explanation = reader(Explanation)
read_timeline = reader(Timeline)
read_state = reader(GraphState)
_read_head = reader(Head)
_read_page = reader(Page)
_read_outcome = reader(_Outcome)
_read_node_events = reader(_NodeEvents)
_read_results = reader(_Results)
_read_chunk = reader(_Chunk)


def plain(codec: Codec, raw: Raw) -> Raw:
    """A payload as JSON that goes over HTTP."""
    return codec.opened(raw, where="a value")


def payload(codec: Codec, raw: Raw) -> Raw:
    """JSON from HTTP as a payload. Copied: it would keep the whole answer in memory."""
    return codec.sealed(bytes(raw))


def head_of(codec: Codec, body: bytes, asked: str) -> Head:
    """A run's head."""
    return _with_payloads(codec, _read_head(body, asked))


def page_of(codec: Codec, body: bytes, asked: str) -> Page:
    """A page of a listing."""
    page = _read_page(body, asked)
    return structs.replace(page, runs=tuple(_with_payloads(codec, head) for head in page.runs))


def outcome_of(codec: Codec, body: bytes, asked: str) -> Ended:
    """How a run ended."""
    found = _read_outcome(body, asked)
    value = payload(codec, found.value)
    return Ended(status=found.status, value=value, failure=found.failure, reason=found.reason)


def node_events_of(body: bytes, asked: str) -> list[GraphEvent]:
    """What happened to the nodes of a run."""
    return _read_node_events(body, asked).events


def results_of(body: bytes, asked: str) -> Results:
    """What a bulk verb did to each run."""
    found = _read_results(body, asked)
    results = [
        RunResult(item.run, item.new, None if item.ok else error_of(item.code, item.error)) for item in found.results
    ]
    return Results(results, found.cursor)


class Chunks:
    """The chunks of one stream for one reader, over all connections: each once.

    To a reader who comes again, a server marks the first chunk of every attempt, since it cannot know whether there was
    one before. Here that is known.
    """

    def __init__(self, codec: Codec, start: int) -> None:
        self._codec = codec
        self._next = start
        self._seen: set[str] = set()

    def take(self, data: bytes, asked: str) -> StreamChunk | None:
        """The chunk; None if it was there before."""
        chunk = _read_chunk(data, asked)
        if chunk.index < self._next:
            return None
        self._next = chunk.index + 1
        restarts = chunk.restarts and chunk.source in self._seen
        self._seen.add(chunk.source)
        raw = payload(self._codec, chunk.value)
        return StreamChunk(index=chunk.index, source=chunk.source, attempt=chunk.attempt, raw=raw, restarts=restarts)


def query_pairs(codec: Codec, query: RunQuery) -> tuple[tuple[str, str], ...]:
    """A query as parameters of a URL."""
    _check_namespace(query)
    pairs = [(name, str(value)) for name in _PLAIN if (value := getattr(query, name)) is not None]
    pairs += [("status", status) for status in query.status]
    pairs += [("tag", f"{key}:{value}") for key, value in query.tag]
    pairs += [("metadata", f"{key}:{bytes(plain(codec, raw)).decode()}") for key, raw in query.metadata]
    return tuple(pairs)


def query_filter(codec: Codec, query: RunQuery) -> dict[str, Any]:
    """A query as the filter of a bulk verb: the same without limit and cursor."""
    _check_namespace(query)
    lists: Mapping[str, Any] = {
        "status": list(query.status),
        "tag": dict(query.tag),
        "metadata": {key: plain(codec, raw) for key, raw in query.metadata},
    }
    found = {name: getattr(query, name) for name in _PLAIN if name not in ("limit", "cursor")}
    return {name: value for name, value in {**found, **lists}.items() if value not in (None, [], {})}


_PLAIN = ("workflow", "parent", "since", "until", "ended_before", "text", "limit", "cursor")


def _check_namespace(query: RunQuery) -> None:
    if query.namespace is not None:
        raise DefinitionError("a key is for one namespace, so a query over HTTP names none")


def _with_payloads(codec: Codec, head: Head) -> Head:
    if not head.metadata:
        return head
    return structs.replace(head, metadata={key: payload(codec, raw) for key, raw in head.metadata.items()})
