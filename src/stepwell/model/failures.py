"""A failure as a value: what the journal keeps of an exception."""

from __future__ import annotations

import builtins

from msgspec import Raw, Struct

from stepwell.errors import type_name

NULL = Raw(b"null")
"""A payload that is absent or null. The default of all payload fields, so it costs no bytes."""


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception as the journal holds it.

    `types` are qualified class names, most derived first, without `Exception` and its bases.
    `args` holds the exception's arguments as a JSON array, for types that cross as themselves (`raises=`).
    """

    types: tuple[str, ...]
    message: str = ""
    traceback: str = ""
    args: Raw = NULL
    step: str | None = None
    attempts: int = 0

    @property
    def type(self) -> str:
        """The class name without its module."""
        return self.types[0].rpartition(".")[2] if self.types else "Exception"

    def is_(self, exception: builtins.type[BaseException]) -> bool:
        """Whether the original exception was an instance of `exception`, by qualified name."""
        return type_name(exception) in self.types

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type
