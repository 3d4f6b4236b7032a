"""What the blocking twin refuses, as the app does."""

from __future__ import annotations

from stepwell import Context, Signal, Stepwell, workflow

note = Signal("note", str)


@workflow
async def lengthen(ctx: Context, text: str) -> int:
    return len(text)


with Stepwell().sync() as s:
    s.start(lengthen, 7)  # E: misc  # P: reportArgumentType
    s.start(lengthen, "abc", dealy="1h")  # E: call-overload  # P: reportCallIssue
    s.start(lengthen, "abc").send(note, 7)  # E: misc  # P: reportArgumentType
