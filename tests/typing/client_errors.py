"""What the client refuses, as the app does."""

from __future__ import annotations

from stepwell import Context, Event, Signal, workflow
from stepwell.client import Client, SyncClient

note = Signal("note", str)
paid = Event("paid", int)


@workflow
async def lengthen(ctx: Context, text: str) -> int:
    return len(text)


async def misuse() -> None:
    async with Client(keys="sw_1_2") as app:  # E: call-arg  # P: reportCallIssue
        await app.start(lengthen, 7)  # E: misc  # P: reportArgumentType
        await app.start(lengthen, "abc", dealy="1h")  # E: call-overload  # P: reportCallIssue
        await app.handle("one").send(note, 7)  # E: misc  # P: reportArgumentType
        await app.publish(paid, "abc")  # E: misc  # P: reportArgumentType
        await app.runs.list(stauts="failed")  # E: call-arg  # P: reportCallIssue


with SyncClient() as s:
    s.start(lengthen, 7)  # E: misc  # P: reportArgumentType
    s.start(lengthen, "abc").send(note, 7)  # E: misc  # P: reportArgumentType
