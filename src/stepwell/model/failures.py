"""A failure as a value: what the journal keeps of an exception."""

from __future__ import annotations

import builtins

from msgspec import Raw, Struct

from stepwell.errors import SealedError, type_name

NULL = Raw(b"null")
"""A payload that is absent or null. The default of all payload fields, so it costs no bytes."""

SEALED = '{"$sealed":"'
"""How a text begins that a cipher hid."""


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception as the journal holds it.

    `types` are qualified class names, most derived first, without `Exception` and its bases.
    `args` holds the exception's arguments as a JSON array, for types that cross as themselves (`raises=`). `code` is
    what the exception had as its `code`, if that was a text.
    """

    types: tuple[str, ...]
    message: str = ""
    traceback: str = ""
    args: Raw = NULL
    step: str | None = None
    attempts: int = 0
    code: str = ""

    @property
    def type(self) -> str:
        """The class name without its module."""
        return self.types[0].rpartition(".")[2] if self.types else "Exception"

    def is_(self, exception: builtins.type[BaseException]) -> bool:
        """Whether the original exception was an instance of `exception`, by qualified name."""
        return type_name(exception) in self.types

    @property
    def is_sealed(self) -> bool:
        """Whether message and traceback are encrypted, and the key for them is not here."""
        return self.message.startswith(SEALED)

    def opened(self) -> Failure:
        """This, for who goes by its text: `SealedError` if that is encrypted."""
        if self.is_sealed:
            raise SealedError(
                f"the text of a failure, {self.type}, is encrypted, and cannot be decrypted here: give the app the "
                f"codec that it was written with, with the same keys"
            )
        return self

    def __str__(self) -> str:
        if self.is_sealed:
            return f"{self.type}: (encrypted)"
        return f"{self.type}: {self.message}" if self.message else self.type
