"""Metadata: small values that a run carries for people and searches."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from stepwell.authoring.registry import Registry
from stepwell.engine.function import FunctionProgram
from stepwell.engine.mismatch import without_key
from stepwell.errors import DefinitionError, SealedError
from stepwell.model.failures import NULL


class Metadata(MutableMapping[str, Any]):
    """Small values that belong to the run, visible in lists and searchable. Saved with the next frame."""

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

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; absent is 0."""
        self[key] = self.get(key, 0) + by

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; absent is empty."""
        self[key] = [*self.get(key, []), value]
