"""What a body notes beside its commands: metadata, stream chunks, patches, a late start. Journaled with the next frame.

On replay the body makes the same notes again; those that the journal holds already are dropped here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from msgspec import UNSET, Raw

from stepwell.engine.program import Line
from stepwell.model.entries import Dropped, Entry, MetadataChanged, Patched, Pinned, Sent, Started
from stepwell.model.failures import NULL
from stepwell.model.metadata import MetadataOp, applied

_URGENT = (Sent, Pinned)


class Notes:
    """The notes of one generation. `is_replaying` tells whether history lies ahead of the body, `is_same` whether two
    payloads hold the same value: on replay it may be encrypted anew."""

    __slots__ = (
        "_is_replaying",
        "_is_same",
        "_known_dropped",
        "_known_metadata",
        "_known_patches",
        "_known_sent",
        "_metadata_changes",
        "_patches",
        "_pending",
        "_sent",
        "is_muted",
        "metadata",
    )

    def __init__(
        self,
        metadata: dict[str, Raw],
        is_replaying: Callable[[], bool],
        is_same: Callable[[Raw, Raw], bool] = operator.eq,
    ) -> None:
        self.metadata = dict(metadata)
        self._is_same = is_same
        self.is_muted = False
        self._is_replaying = is_replaying
        self._pending: list[Entry] = []
        self._metadata_changes: dict[str, Raw] = {}
        self._patches: dict[str, bool] = {}
        self._sent: dict[str, int] = {}
        # Seldom anything: an empty set of its own costs 216 bytes, and there may be thousands of parked runs.
        self._known_patches: frozenset[str] = frozenset()
        self._known_sent: dict[str, int] = {}
        self._known_metadata: dict[str, Raw] = {}
        self._known_dropped: frozenset[str] = frozenset()

    def mute(self) -> None:
        """Note nothing more, and let go of the program."""
        self.is_muted = True
        self._is_replaying = bool
        self._is_same = operator.eq

    def read(self, history: Sequence[Line]) -> None:
        """Learn what the journal holds."""
        for line in history:
            match line.entry:
                case Patched(id=id):
                    self._known_patches |= {id}
                case Sent(stream=stream, k=k):
                    self._known_sent[stream] = k + 1
                case MetadataChanged(values=values):
                    self._known_metadata.update(values)
                case Dropped(id=message):
                    self._known_dropped |= {message}
                case _:
                    pass

    @property
    def is_urgent(self) -> bool:
        """Whether there are chunks for a stream, which somebody may be reading; or all else depends on a note."""
        return bool(self._pending) and any(type(note) in _URGENT for note in self._pending)

    def take(self) -> list[Entry]:
        """The notes that the journal lacks, in order; each once."""
        notes = self._pending
        if notes:
            self._pending = []
        if self._metadata_changes:
            known = self._known_metadata
            values = {
                key: raw
                for key, raw in self._metadata_changes.items()
                if (old := known.get(key)) is None or not self._is_same(old, raw)
            }
            self._metadata_changes = {}
            if values:
                known.update(values)
                notes = [*notes, MetadataChanged(values=values)]
        return notes

    def started(self, at: int) -> None:
        """The body begins later than the journal lets expect. Noted before anything else."""
        self._pending.append(Started(at=at))

    def pinned(self, blueprint: Raw) -> None:
        """The run goes by this blueprint, which the journal does not say yet."""
        self._pending.append(Pinned(blueprint=blueprint))

    def set_metadata(self, key: str, value: Raw) -> None:
        """Set a key; null removes it."""
        if self.is_muted:
            return
        if value == NULL:
            self.metadata.pop(key, None)
        else:
            self.metadata[key] = value
        self._metadata_changes[key] = value

    def change_metadata(self, change: MetadataOp, plain: Callable[[Raw], Raw], sealed: Callable[[Raw], Raw]) -> None:
        """Apply one change. `plain` opens a payload, `sealed` makes one of JSON."""
        there = self.metadata.get(change.key)
        value = UNSET if change.value is UNSET else plain(change.value)
        new = applied(change.op, None if there is None else plain(there), value)
        self.set_metadata(change.key, NULL if new == NULL else sealed(new))

    def send(self, stream: str, value: Raw) -> None:
        """The next chunk of a stream."""
        if self.is_muted:
            return
        k = self._sent.get(stream, 0)
        self._sent[stream] = k + 1
        if k >= self._known_sent.get(stream, 0):
            self._pending.append(Sent(stream=stream, k=k, value=value))

    def has_sent(self, stream: str) -> bool:
        """Whether the body has sent to this stream."""
        return stream in self._sent

    def patched(self, id: str) -> bool:
        """True for runs that reach this point first with this code, and ever after in the same run."""
        if id not in self._patches:
            is_known = id in self._known_patches
            self._patches[id] = is_known or not self._is_replaying()
            if self._patches[id] and not is_known and not self.is_muted:
                self._pending.append(Patched(id=id))
        return self._patches[id]

    def drop(self, note: Dropped) -> None:
        """A message did not fit its type."""
        if note.id not in self._known_dropped and not self.is_muted:
            self._known_dropped |= {note.id}
            self._pending.append(note)
