"""The text of an expression: its places, and the names in it that hold a hyphen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from stepwell.engine.expressions.work import MAX_TEXT
from stepwell.errors import ExpressionError, ExpressionFailed

LETTERS = "".join(map(chr, range(0xA7F7, 0xA800)))
"""Letters of obscure alphabets. One that the text does not hold stands for the hyphens of names while it is parsed."""

_HYPHENATED = re.compile(r"(?<![\w$])[\w$]++(?:-++[\w$]++)++")
_BEFORE_A_NAME = re.compile(r"(?:^|[^\w$.])(?:context|_outputs|_inputs)\s{0,9}\??\.$")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Source:
    """A text that is to be compiled.

    `parsed` is the same text, character by character, but that the hyphens of names are `letter`.
    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        self.text = self.parsed = text
        self.letter = ""
        if len(text) > MAX_TEXT:
            raise self.error(f"it has {len(text):,} characters; there may be {MAX_TEXT:,}", 0)
        if found := _CONTROL.search(text):
            raise self.error(f"{found[0]!r} cannot stand here", found.start())
        if "-" in text:
            self._join(names if isinstance(names, AbstractSet | Mapping) else frozenset(names))

    def restored(self, parsed: str) -> str:
        """A part of `parsed` as it stands in the text."""
        return parsed.replace(self.letter, "-") if self.letter else parsed

    def error(self, reason: str, at: int) -> ExpressionError:
        """This text is no expression; `at` is an offset."""
        line, column = self._position(at)
        return ExpressionError(reason, text=self.text, line=line, column=column)

    def failed(self, reason: str, at: int) -> ExpressionFailed:
        """What stands at this offset has no result."""
        line, column = self._position(at)
        return ExpressionFailed(reason, text=self.text, line=line, column=column)

    def excerpt(self, start: int, end: int) -> str:
        """What stands there, in one line, not too long."""
        words = " ".join(self.text[start:end].split())
        return words if len(words) <= 60 else f"{words[:59]}…"

    def _position(self, at: int) -> tuple[int, int]:
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)

    def _join(self, names: AbstractSet[str] | Mapping[str, object]) -> None:
        found = [match for match in _HYPHENATED.finditer(self.text) if self._is_name(match, names)]
        if not found:
            return
        self.letter = next((letter for letter in LETTERS if letter not in self.text), "")
        if not self.letter:
            raise self.error("it holds all letters that could stand for the hyphens of its names", 0)
        parts: list[str] = []
        end = 0
        for match in found:
            parts += self.text[end : match.start()], match[0].replace("-", self.letter)
            end = match.end()
        self.parsed = "".join([*parts, self.text[end:]])

    def _is_name(self, match: re.Match[str], names: AbstractSet[str] | Mapping[str, object]) -> bool:
        if match[0][0].isdigit() or match[0] not in names:
            return False
        before = self.text[max(0, match.start() - 24) : match.start()]
        return not before.endswith(".") or _BEFORE_A_NAME.search(before) is not None
