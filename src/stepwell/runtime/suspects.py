"""Runs that were claimed again and again without progress: they may be what kills the workers."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from stepwell.model.runs import Head


def split(heads: Sequence[Head], limit: int, *, is_one_active: bool) -> tuple[list[Head], Head | None, list[Head]]:
    """The innocent, the suspect to try now if there is one, and those to give back.

    Suspects, of `limit` takes or more, are tried one at a time, the least suspect first, so that one that kills its
    worker does not take innocent ones down with it.
    """
    innocent = [head for head in heads if not _is_suspect(head, limit)]
    suspects = sorted((head for head in heads if _is_suspect(head, limit)), key=attrgetter("takes"))
    chosen = suspects.pop(0) if suspects and not is_one_active else None
    return innocent, chosen, suspects


def _is_suspect(head: Head, limit: int) -> bool:
    return head.takes >= limit and not head.is_terminal
