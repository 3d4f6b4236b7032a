"""One of several processes that open the same data at the same moment.

It reads tasks as lines of JSON. For each it opens the backend, says that it is ready, waits for the line that starts
everybody, races, answers, and closes. It ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable

from msgspec import Struct, json

from stepwell.ports import Backend, Job
from stepwell.testing.contracts.running import (
    ANY,
    LEASE_MS,
    Address,
    claim_of,
    created,
    frame,
    message,
    new_run,
    opened_at,
)

ROUNDS = 10


class Task(Struct, frozen=True):
    """A race to take part in, with so many calls at once, as process `who`."""

    address: Address
    race: str
    who: int
    calls: int


class Answer(Struct, frozen=True):
    """What each call won, as text; or the error that ended it."""

    won: list[str] = []
    error: str = ""


Race = Callable[[Backend, str], Awaitable[list[str]]]
"""One of several calls at once: with a name that no other call of any process has. Answers what it won."""


async def _create(backend: Backend, me: str) -> list[str]:
    answers = await backend.store.create([new_run(f"r{k}", me.encode()) for k in range(ROUNDS)])
    return [f"r{k} {me}" for k, there in enumerate(answers) if there is None]


async def _append(backend: Backend, me: str) -> list[str]:
    won: list[str] = []
    for seq in range(2, ROUNDS + 2):
        answer = (await backend.store.append([frame(seq, me.encode())]))[0]
        assert answer in ("ok", "exists")
        won += [f"{seq} {me}"] * (answer == "ok")
    return won


async def _deliver(backend: Backend, me: str) -> list[str]:
    won: list[str] = []
    for k in range(ROUNDS):
        first, second = await backend.store.deliver([message(f"m{k}", me.encode()), message(f"{me}.{k}")])
        assert first.answer in ("ok", "duplicate")
        assert second.answer == "ok"
        won += [f"m{k} {me}"] * (first.answer == "ok")
    return won


async def _take(backend: Backend, me: str) -> list[str]:
    won: list[str] = []
    claim = claim_of(backend, me)
    while heads := (await backend.store.take(claim, lease_ms=LEASE_MS, limit=3, serves=ANY)).heads:
        won += [f"{head.id} {claim}" for head in heads]
    return won


async def _reserve(backend: Backend, me: str) -> list[str]:
    return [f"n{k} {me}" for k in range(ROUNDS) if await backend.store.reserve(f"n{k}", me) == me]


async def _set(backend: Backend, me: str) -> list[str]:
    keys = backend.coordination
    return [f"k{k} {me}" for k in range(ROUNDS) if await keys.set_if_not_exist(f"k{k}", me, ttl_ms=60_000)]


async def _increment(backend: Backend, _: str) -> list[str]:
    return [str(await backend.coordination.increment("k")) for _ in range(ROUNDS)]


async def _stream(backend: Backend, me: str) -> list[str]:
    chunks = [me.encode(), b"x"]
    return [f"{k} {me}" for k in range(ROUNDS) if await backend.streams.append("s", k * 2, chunks)]


async def _receive(backend: Backend, _: str) -> list[str]:
    won: list[str] = []
    while received := await backend.queue.receive(["q"], limit=3, visibility_ms=60_000):
        won += [item.body.decode() for item in received]
        await backend.queue.ack([item.receipt for item in received])
    return won


async def _put(backend: Backend, me: str) -> list[str]:
    await backend.blobs.put("run/k", f"{me};".encode() * 5000)
    return []


async def _ring(backend: Backend, me: str) -> list[str]:
    await backend.queue.publish("rung", [Job(me.encode())])
    await backend.queue.notify(["t"])
    return []


async def _write_for_ever(backend: Backend, me: str) -> list[str]:
    """Writes until it is killed, and tells of each frame after it was accepted."""
    run, seq = f"w{me}", 1
    await created(backend, new_run(run))
    while True:
        seq += 1
        assert await backend.store.append([frame(seq, b"%d" % seq, run=run)]) == ["ok"]
        _say(Answer([f"{run} {seq}"]))


async def _hold(backend: Backend, me: str) -> list[str]:
    """Takes a run for a moment, and then does no more."""
    claim = claim_of(backend, me)
    taken = await backend.store.take(claim, lease_ms=200, limit=1, serves=ANY)
    assert len(taken.heads) == 1
    _say(Answer(["held"]))
    await asyncio.Event().wait()
    return []


RACES: dict[str, Race] = {
    "create": _create,
    "append": _append,
    "deliver": _deliver,
    "take": _take,
    "reserve": _reserve,
    "set": _set,
    "increment": _increment,
    "stream": _stream,
    "receive": _receive,
    "put": _put,
    "ring": _ring,
    "write for ever": _write_for_ever,
    "hold": _hold,
}


def main() -> None:
    """Take part in one race after the other."""
    for line in sys.stdin:
        try:
            asyncio.run(_take_part(json.decode(line, type=Task)))
        except Exception:
            _say(Answer(error=traceback.format_exc()))


async def _take_part(task: Task) -> None:
    backend = await opened_at(task.address)
    try:
        _say(Answer(["ready"]))
        await asyncio.to_thread(sys.stdin.readline)
        race = RACES[task.race]
        won = await asyncio.gather(*[race(backend, f"{task.who}.{at}") for at in range(task.calls)])
    finally:
        await backend.close()
    _say(Answer([item for wins in won for item in wins]))


def _say(answer: Answer) -> None:
    sys.stdout.write(json.encode(answer).decode() + "\n")
    sys.stdout.flush()
