"""A run's timeline as lines of text: one row per thing that happened, with bars over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from stepwell.cli.console import Paint, clip, short_ms
from stepwell.cli.progress import wait_text
from stepwell.engine.timeline import (
    ActItem,
    ChildItem,
    ChunkItem,
    ControlItem,
    EndItem,
    GenerationItem,
    Item,
    MessageItem,
    MetadataItem,
    PatchItem,
    StartItem,
    StepItem,
    Timeline,
    TimerItem,
)
from stepwell.model.ids import INVOCATION
from stepwell.model.runs import Head, Wait
from stepwell.runtime.explaining_remote import token_cure

_LEVELS = "▁▂▃▄▅▆▇█"
_GROUP_FROM = 6
"""So many steps of one fan-out share a row."""


class Span(NamedTuple):
    """A part of a bar: from, to (ms), and how it looks."""

    begin: int
    end: int
    char: str = "█"
    style: str = "green"


class Row(NamedTuple):
    """One line: what, when, and what came of it. `spans` may overlap; the later wins, unless it is a crowd."""

    label: str
    spans: tuple[Span, ...]
    text: str = ""
    style: str = ""
    is_crowd: bool = False


class Scale(NamedTuple):
    """Time to columns."""

    begin: int
    end: int
    columns: int

    def cells(self, span: Span) -> range:
        """The columns of a span: at least one."""
        length = max(1, self.end - self.begin)
        first = min(self.columns - 1, max(0, (span.begin - self.begin) * self.columns // length))
        last = min(self.columns, -(-(span.end - self.begin) * self.columns // length))
        return range(first, max(first + 1, last))


def draw(
    timeline: Timeline, head: Head | None, *, now: int, columns: int, paint: Paint, is_full: bool = False
) -> list[str]:
    """All lines. `now` (ms) is where the bars of an open run end; `is_full`: no row is left out or shared."""
    end = timeline.at if timeline.end is not None else max(timeline.at, now)
    rows = [*_rows(timeline, end, is_full)]
    lines = [_headline(timeline, head, end, paint), ""]
    if rows:
        label_room = min(max(len(row.label) for row in rows), max(12, columns // 3))
        text_room = min(max(len(row.text) for row in rows), max(12, columns // 3))
        scale = Scale(timeline.created_at, end, max(8, columns - label_room - text_room - 6))
        lines.append(f"  {' ' * label_room}  {paint(_axis(scale), 'dim')}")
        lines += [_line(row, scale, label_room, text_room, paint) for row in rows]
        lines.append("")
    return lines + _end_lines(timeline, head, columns, paint)


def _headline(timeline: Timeline, head: Head | None, end: int, paint: Paint) -> str:
    status = timeline.status if timeline.end is not None or head is None else head.status
    version = f" v{timeline.version}" if timeline.version else ""
    took = short_ms(end - timeline.created_at)
    began = datetime.fromtimestamp(timeline.created_at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    line = f"{paint(timeline.run, 'bold')}  {timeline.workflow}{version}  {paint.status(status)}"
    line += paint(f"  {'in' if timeline.end else 'for'} {took}, since {began}", "dim")
    if timeline.parent is not None:
        line += paint(f", child of {timeline.parent}", "dim")
    if timeline.forked_from is not None:
        line += paint(f", fork of {timeline.forked_from}", "dim")
    return line


def _axis(scale: Scale) -> str:
    """`0 ────── 1.2s`."""
    end = short_ms(scale.end - scale.begin)
    return f"0 {'─' * max(1, scale.columns - len(end) - 3)} {end}"


def _line(row: Row, scale: Scale, label_room: int, text_room: int, paint: Paint) -> str:
    label = clip(row.label, label_room).ljust(label_room)
    text = clip(row.text, text_room)
    bar = _crowd(row.spans, scale, paint) if row.is_crowd else _bar(row.spans, scale, paint)
    return f"  {label}  {bar}  {paint(text, row.style) if row.style else text}".rstrip()


def _bar(spans: Sequence[Span], scale: Scale, paint: Paint) -> str:
    cells = [(" ", "")] * scale.columns
    for span in spans:
        for column in scale.cells(span):
            cells[column] = (span.char, span.style)
    return "".join(_painted(cells, paint))


def _crowd(spans: Sequence[Span], scale: Scale, paint: Paint) -> str:
    """How many went on at a time, as a curve."""
    counts = Counter(column for span in spans for column in scale.cells(span))
    top = max(counts.values(), default=1)
    chars = [_LEVELS[(counts[column] * len(_LEVELS) - 1) // top] if counts[column] else " " for column in _all(scale)]
    return "".join(_painted([(char, "green") for char in chars], paint))


def _all(scale: Scale) -> range:
    return range(scale.columns)


def _painted(cells: Sequence[tuple[str, str]], paint: Paint) -> Iterator[str]:
    """One colour code per stretch, not per letter."""
    start = 0
    for index in range(1, len(cells) + 1):
        if index == len(cells) or cells[index][1] != cells[start][1]:
            yield paint("".join(char for char, _ in cells[start:index]), cells[start][1])
            start = index


# --- rows


def _rows(timeline: Timeline, end: int, is_full: bool) -> Iterator[Row]:
    keyed = Counter((item.base, item.name) for item in timeline.steps if "[" in item.id)
    shared = set() if is_full else {key for key, count in keyed.items() if count >= _GROUP_FROM}
    told = set()
    for item in timeline.items:
        if isinstance(item, StepItem) and "[" in item.id and (key := (item.base, item.name)) in shared:
            if key not in told:
                told.add(key)
                yield _shared_row([step for step in timeline.steps if (step.base, step.name) == key], end)
        elif (row := _row(item, end, is_full)) is not None:
            yield row


def _row(item: Item, end: int, is_full: bool) -> Row | None:
    match item:
        case StepItem():
            return _step_row(item, end)
        case ChildItem():
            stop = end if item.ended_at is None else item.ended_at
            span = Span(item.at, stop, "▬", "green" if item.status == "completed" else "blue")
            return Row(f"⑂ {item.workflow}", (span,), f"{short_ms(stop - item.at)} {item.status}, run {item.run}")
        case TimerItem():
            return _point(f"⏲ {item.name}", item.at, "timer")
        case MessageItem():
            dropped = f", dropped: {item.dropped}" if item.dropped else ""
            return _point(f"✉ {item.name}", item.accepted_at, f"{item.source}{dropped}")
        case ControlItem():
            return _point(f"■ {item.action}", item.at, item.reason)
        case StartItem():
            return _point("▶ begins", item.at, f"{short_ms(item.late_ms)} late")
        case GenerationItem():
            return _point("↻ retry" if item.retries else "↻ continues", item.at, "as new" if not item.retries else "")
        case _:
            return _rare_row(item) if is_full else None


def _rare_row(item: ActItem | MetadataItem | PatchItem | ChunkItem | EndItem) -> Row | None:
    match item:
        case ActItem():
            return _point(f"→ {item.what}", item.at, f"{item.status}: {item.target}")
        case MetadataItem():
            return _point(
                "≡ metadata", item.at, ", ".join(f"{key}={bytes(raw).decode()}" for key, raw in item.values.items())
            )
        case PatchItem():
            return _point(f"≡ patched {item.id}", item.at, "")
        case ChunkItem():
            return _point(f"≡ stream {item.stream}", item.at, f"{item.count} sent")
        case EndItem():
            return None


def _point(label: str, at: int, text: str) -> Row:
    return Row(label, (Span(at, at, "◆", "blue"),), text)


def _step_row(item: StepItem, end: int) -> Row:
    stop = end if item.ended_at is None else item.ended_at
    spans = [Span(item.started_at, stop, "·", "dim")]
    spans += [
        Span(attempt.started_at, attempt.started_at + attempt.ms, *(("█", "green") if attempt.is_ok else ("▒", "red")))
        for attempt in item.attempts
    ]
    text = short_ms(stop - item.started_at)
    if len(item.attempts) > 1:
        text += f", {len(item.attempts)} attempts"
    if item.status != "completed":
        text += f", {item.status}: {item.failure or ''}"
    return Row(_label(item), tuple(spans), text, "red" if item.status == "failed" else "")


def _label(item: StepItem) -> str:
    """An invocation of a body elsewhere is no step to its author."""
    return f"⇄ invocation {item.id[len(INVOCATION) + 1 : -1]}" if item.name == INVOCATION else item.id


def _shared_row(steps: Sequence[StepItem], end: int) -> Row:
    spans = tuple(Span(step.started_at, end if step.ended_at is None else step.ended_at) for step in steps)
    busy = sum(span.end - span.begin for span in spans)
    failed = sum(step.status == "failed" for step in steps)
    tries = sum(len(step.attempts) for step in steps) - len(steps)
    text = f"{short_ms(max(s.end for s in spans) - min(s.begin for s in spans))}, {short_ms(busy // len(spans))} each"
    if tries > 0:
        text += f", {tries} tried again"
    if failed:
        text += f", {failed} failed"
    name = "⇄ invocations" if steps[0].name == INVOCATION else steps[0].name
    return Row(f"{name} ×{len(steps)}", spans, text, "red" if failed else "", is_crowd=True)


def _end_lines(timeline: Timeline, head: Head | None, columns: int, paint: Paint) -> list[str]:
    ended, style = timeline.end, ""
    if ended is None:
        # A head is written when its run parks. One that runs waits for what it waited for before.
        is_stale = head is None or head.status == "running"
        texts = [] if head is None or is_stale else [_wait_line(timeline, head, wait) for wait in head.waiting]
    elif ended.failure is not None:
        texts, style = [f"{ended.status}: {ended.failure}"], "red"
    elif ended.status == "completed":
        texts = [f"completed: {bytes(ended.value).decode(errors='replace')}"]
    else:
        texts = [f"{ended.status}: {ended.reason}" if ended.reason else ended.status]
    return [f"  {paint(clip(text, columns - 2), style)}" for text in texts]


def _wait_line(timeline: Timeline, head: Head, wait: Wait) -> str:
    is_remote = any(step.name == INVOCATION for step in timeline.steps)
    if wait.kind == "token" and is_remote:
        return f"waits for {wait.name}: {token_cure(head.id, wait.name)}"
    return wait_text(head, wait)
