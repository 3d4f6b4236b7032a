"""What one evaluation may cost, and how an operation says that it has no result.

Nothing in the language repeats, so each operator runs at most once and the length of the text bounds them. What is left
to bound is the data: `Work` counts the items and characters that operations go through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_TEXT = 10_000
"""Characters of an expression."""

MAX_DEPTH = 100
"""Brackets, operators and calls inside of each other."""

MAX_CHARACTERS = 1_000_000
"""Of a string that an expression makes."""

MAX_ITEMS = 100_000
"""Of an array that an expression makes."""

MAX_BITS = 4096
"""Of a whole number that an expression makes."""

MAX_WORK = 300_000
"""Items that all operations of one evaluation go through. Sixteen characters count as one item."""

MAX_RESULT = 1_000_000
"""Items of a result that was put together, counted in the same way."""

Lookup = Callable[[str], Any]
"""The value of a name, or UNSET."""


class Refusal(Exception):
    """An operation has no result for these values. Whoever knows the place makes an `ExpressionFailed` of it."""


class Work:
    """One evaluation: where names are looked up, and what may still be done."""

    __slots__ = ("left", "lookup")

    def __init__(self, lookup: Lookup, left: int = MAX_WORK) -> None:
        self.lookup = lookup
        self.left = left

    def charge(self, items: int) -> None:
        """Before going through so many items."""
        self.left -= items + 1
        if self.left < 0:
            raise Refusal("that is too much data for an expression; leave it to a node")

    def read(self, text: str) -> str:
        """Before going through the characters of a text."""
        self.charge(len(text) // 16)
        return text

    def room_for_text(self, characters: int) -> None:
        """Before making a text of this length."""
        if characters > MAX_CHARACTERS:
            raise Refusal(f"a text of {characters:,} characters; an expression makes at most {MAX_CHARACTERS:,}")
        self.charge(characters // 16)

    def room_for_items(self, items: int) -> None:
        """Before making an array of this length."""
        if items > MAX_ITEMS:
            raise Refusal(f"an array of {items:,} items; an expression makes at most {MAX_ITEMS:,}")
        self.charge(items)
