"""The terminal: colours only where they are seen, tables that fit, and times for people."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from stepwell.runtime import logs

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_COLOUR = re.compile(r"\033\[\d*m")
STATUS_STYLES = {
    "completed": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
    "terminated": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "paused": "yellow",
}


class Paint:
    """Colours a text, or leaves it as it is."""

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on

    def __call__(self, text: str, style: str) -> str:
        code = _CODES.get(style)
        return f"\033[{code}m{text}\033[0m" if self.is_on and code and text else text

    def status(self, text: str, status: str | None = None) -> str:
        """In the colour of a run's status."""
        return self(text, STATUS_STYLES.get(status or text.strip(), ""))


def paint_for(stream: TextIO) -> Paint:
    """Colours on a terminal, unless NO_COLOR is set."""
    return Paint(is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at it."""
    return stream.isatty()


def width() -> int:
    """The columns of the terminal; 100 where there is none."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def note(text: str) -> None:
    """Say something that is not the output."""
    print(text, file=sys.stderr, flush=True)


def begin_logging(form: str) -> None:
    """Log to stderr, as text for people or as JSON for programs."""
    if form == "json":
        logs.configure()
    else:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")


def clip(text: str, room: int) -> str:
    """One line of at most `room` columns."""
    line = " ".join(text.split())
    return line if len(line) <= room else line[: max(0, room - 1)] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, columns: int, paint: Paint) -> list[str]:
    """Lines with aligned columns. The last column gets what is left, and is cut."""
    if not rows:
        return []
    widths = [max(_seen(row[index]) for row in (header, *rows)) for index in range(len(header) - 1)]
    room = max(8, columns - sum(widths) - 2 * len(widths))

    def line(cells: Sequence[str]) -> str:
        fixed = [cell + " " * (size - _seen(cell)) for cell, size in zip(cells, widths, strict=False)]
        return "  ".join([*fixed, clip(cells[-1], room)]).rstrip()

    return [paint(line(header), "dim"), *(line(row) for row in rows)]


def _seen(text: str) -> int:
    """How many columns a text takes: colours take none."""
    return len(_COLOUR.sub("", text))


def short_ms(ms: int) -> str:
    """How long, for people: three digits and a unit are enough."""
    if ms < 1000:
        return f"{max(0, ms)}ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f}s"
    minutes, seconds = divmod(ms // 1000, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24}h"
