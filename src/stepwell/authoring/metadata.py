"""Metadata: small values that a run carries for people and searches."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Literal

from msgspec import UNSET, Raw, UnsetType

from stepwell.authoring.registry import Registry
from stepwell.engine.function import FunctionProgram
from stepwell.engine.mismatch import without_key
from stepwell.errors import DefinitionError, SealedError
from stepwell.model.failures import NULL
from stepwell.model.metadata import MetadataOp


class Metadata(MutableMapping[str, Any]):
    """Small values that belong to the run, visible in lists and searchable. Saved with the next frame.

    `parent` and `root` are those of the run that started this one, and of the run at the top.
    """

    def __init__(self, program: FunctionProgram, registry: Registry) -> None:
        self._program = program
        self._registry = registry

    def __getitem__(self, key: str) -> Any:
        try:
            return self._registry.decode(self._program.metadata[key], what=f"metadata {key!r}")
        except SealedError as error:
            self._program.loop.refuse(without_key(self._program.origin, error))

    def __setitem__(self, key: str, value: Any) -> None:
        if value is None:
            raise DefinitionError(f"ctx.metadata[{key!r}] = None: delete the key instead")
        self._program.notes.set_metadata(key, self._registry.encode(value, what=f"metadata {key!r}"))

    def __delitem__(self, key: str) -> None:
        if key not in self._program.metadata:
            raise KeyError(key)
        self._program.notes.set_metadata(key, NULL)

    def __iter__(self) -> Iterator[str]:
        return iter(self._program.metadata)

    def __len__(self) -> int:
        return len(self._program.metadata)

    @property
    def parent(self) -> MetadataAbove:
        """The metadata of the run that started this one as a child."""
        return MetadataAbove("parent", self._program, self._registry)

    @property
    def root(self) -> MetadataAbove:
        """The metadata of the run at the top of those that started one another."""
        return MetadataAbove("root", self._program, self._registry)

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; absent is 0."""
        self[key] = self.get(key, 0) + by

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; absent is empty."""
        self[key] = [*self.get(key, []), value]


class MetadataAbove:
    """The metadata of a run above this one. It can be changed, and not read: what it is there, that run knows.

    What the body changes before it next waits arrives together, once, in order. Where there is nobody above, because
    the run was not started as a child, because it is a fork, or because the other has ended, nothing happens.
    """

    def __init__(self, target: Literal["parent", "root"], program: FunctionProgram, registry: Registry) -> None:
        self._target = target
        self._program = program
        self._registry = registry

    def set(self, key: str, value: Any) -> None:
        """Set a key."""
        if value is None:
            raise DefinitionError(f"ctx.metadata.{self._target}.set({key!r}, None): remove the key instead")
        self._change("set", key, self._encoded(key, value))

    def remove(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._change("remove", key)

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number. What is absent, or no number, is 0."""
        if isinstance(by, bool) or not isinstance(by, int | float):
            raise DefinitionError(f"ctx.metadata.{self._target}.increment({key!r}, {by!r:.100}): give a number")
        self._change("increment", key, UNSET if by == 1 else self._encoded(key, by))

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list. What is absent, or no list, is empty."""
        self._change("append", key, self._encoded(key, value))

    def _encoded(self, key: str, value: Any) -> Raw:
        return self._registry.encode(value, what=f"metadata {key!r} of the {self._target}")

    def _change(
        self, op: Literal["set", "increment", "append", "remove"], key: str, value: Raw | UnsetType = UNSET
    ) -> None:
        self._program.outside.change_above(self._target, MetadataOp(op=op, key=key, value=value))
