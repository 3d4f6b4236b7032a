"""What a body notes over the wire: changes of metadata, stream chunks, patches.

An answer holds all changes of the run so far, because the body makes them again at each invocation. Of chunks it holds
those that no answer held before.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET, Raw, Struct

from stepwell.engine.function import Translator
from stepwell.engine.notes import Notes
from stepwell.engine.remote.calls import Change, Whose
from stepwell.engine.worker.journal import Slice
from stepwell.model.failures import NULL
from stepwell.model.metadata import MetadataOp, applied


class SentChunk(Struct, frozen=True):
    """A chunk that the body sent; `seq` counts from 1. `final`: a marker behind the last one, without a value."""

    stream: str
    seq: int
    value: Raw
    final: bool
    at: int


class WireNotes(Notes):
    """The notes of one invocation. What the body reads of its metadata is what it wrote itself. Values come as
    payloads, and leave as JSON."""

    __slots__ = ("_chunks", "_counts", "_fresh_patches", "_known_counts", "_now", "_patched", "_translator", "changes")

    def __init__(
        self, slice: Slice, is_replaying: Callable[[], bool], now: Callable[[], int], translator: Translator
    ) -> None:
        super().__init__({}, is_replaying)
        self.changes: list[Change] = []
        self._now = now
        self._translator = translator
        self._known_patches = slice.patches.union(*(step.patches for step in slice.steps))
        self._fresh_patches: list[str] = []
        self._patched: list[str] = []
        self._known_counts = slice.chunks
        self._counts: dict[str, int] = {}
        self._chunks: list[SentChunk] = []

    def set_metadata(self, key: str, value: Raw) -> None:
        """Set a key; null removes it."""
        op = MetadataOp(op="remove", key=key) if value == NULL else MetadataOp(op="set", key=key, value=value)
        self.change(op)

    def change(self, op: MetadataOp, target: Whose = "self") -> None:
        """Change the metadata of this run, or of one above it."""
        if self.is_muted:
            return
        plain, sealed = self._translator.plain, self._translator.sealed
        value = UNSET if op.value is UNSET else plain(op.value)
        self.changes.append(Change(op=op.op, key=op.key, value=value, target=target))
        if target != "self":
            return
        there = self.metadata.get(op.key)
        new = applied(op.op, None if there is None else plain(there), value)
        if new == NULL:
            self.metadata.pop(op.key, None)
        else:
            self.metadata[op.key] = sealed(new)

    def send(self, stream: str, value: Raw) -> None:
        """The next chunk of a stream."""
        if self.is_muted:
            return
        seq = self._counts[stream] = self._counts.get(stream, 0) + 1
        if seq > self._known_counts.get(stream, 0):
            self._chunks.append(SentChunk(stream, seq, self._translator.plain(value), False, self._now()))

    def end_streams(self) -> dict[str, int]:
        """The body sends nothing more: a marker for each stream. How many chunks each has now."""
        for stream, count in self._counts.items():
            self._counts[stream] = count + 1
            self._chunks.append(SentChunk(stream, count + 1, NULL, True, self._now()))
        return self.counts

    def take_chunks(self) -> list[SentChunk]:
        """The chunks that were sent since last asked."""
        chunks, self._chunks = self._chunks, []
        return chunks

    @property
    def counts(self) -> dict[str, int]:
        """How many chunks the body has sent to each stream, in all invocations."""
        return dict(self._counts)

    def patched(self, id: str) -> bool:
        """True for runs that reach this point first with this code, and ever after in the same run."""
        if id not in self._patches:
            is_known = id in self._known_patches
            self._patches[id] = is_known or not self._is_replaying()
            if self._patches[id] and not is_known:
                self._fresh_patches.append(id)
                self._patched.append(id)
        return self._patches[id]

    def take_patches(self) -> tuple[str, ...]:
        """The patches that were taken since last asked."""
        fresh, self._fresh_patches = self._fresh_patches, []
        return tuple(fresh)

    @property
    def patches(self) -> list[str]:
        """All patches of the run that are known by now."""
        return sorted({*self._known_patches, *self._patched})
