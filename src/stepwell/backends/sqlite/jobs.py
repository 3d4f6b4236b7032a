"""The Queue port on one SQLite file: jobs as rows, notices in this process, and a watch for other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from stepwell.backends.notices import Listener, Notices
from stepwell.backends.sqlite.bulk import INSERT_JOBS
from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.reading import Reader
from stepwell.backends.sqlite.session import Session, as_json
from stepwell.backends.sqlite.sql import SQL
from stepwell.backends.sqlite.writer import Writer
from stepwell.ports import Job, Received

_WATCH_S = 0.045
"""How often to look whether another process has written: one pragma, some 10 microseconds."""


class _Publish(NamedTuple):
    queue: str
    job: Job
    delay_ms: int


class _Receive(NamedTuple):
    queues: tuple[str, ...]
    limit: int
    visibility_ms: int


class _Hide(NamedTuple):
    receipt: str
    for_ms: int


class SqliteQueue:
    """Jobs as rows."""

    def __init__(self, database: Database, writer: Writer, reader: Reader) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader
        self._notices = Notices()
        self._watch: asyncio.TimerHandle | None = None
        self._version: tuple[int, int] | None = None

    async def publish(self, queue: str, jobs: Sequence[Job], *, delay_ms: int = 0) -> None:
        await self._writer.run(_publish, [_Publish(queue, job, delay_ms) for job in jobs])
        self._notices.ring([_jobs_topic(queue)])

    async def receive(
        self, queues: Sequence[str], *, limit: int, visibility_ms: int = 30_000, wait_ms: int = 0
    ) -> list[Received]:
        clock = self._database.clock
        until = clock.monotonic() + wait_ms / 1000
        listener = self._listen(*map(_jobs_topic, queues)) if wait_ms else None
        request = _Receive(tuple(queues), limit, visibility_ms)
        while True:
            received: list[Received] = []
            next_at = self._next_at(queues)
            if next_at is not None and next_at <= clock.now():
                received = (await self._writer.run(_receive, [request]))[0]
            left = until - clock.monotonic()
            if received or listener is None or left <= 0:
                return received
            soon = left if next_at is None else max(0.001, (next_at - clock.now()) / 1000)
            await listener.wait(min(left, soon))

    async def ack(self, receipts: Sequence[str]) -> None:
        await self._writer.run(_ack, receipts)

    async def hide(self, receipts: Sequence[str], for_ms: int) -> None:
        await self._writer.run(_hide, [_Hide(receipt, for_ms) for receipt in receipts])
        self._notices.ring({_jobs_topic(_parse(receipt)[2]) for receipt in receipts})

    async def notify(self, topics: Sequence[str]) -> None:
        """Listeners of this process are told; those of others see that something was committed."""
        self._notices.ring(topics)

    def listen(self, topic: str) -> AsyncIterator[None]:
        return self._listen(topic)

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()

    def _listen(self, *topics: str) -> Listener:
        listener = self._notices.listen(*topics)
        if self._watch is None:
            self._version = self._writer.data_version()
            self._watch = self._writer.loop.call_later(_WATCH_S, self._look)
        return listener

    def _look(self) -> None:
        if not self._notices:
            self._watch = None
            return
        version = self._writer.data_version()
        if version is not None:
            if self._version is not None and version != self._version:
                self._notices.ring_all()
            self._version = version
        self._watch = self._writer.loop.call_later(_WATCH_S, self._look)

    def _next_at(self, queues: Sequence[str]) -> int | None:
        """When the next job can be received. A look that writes nothing, so that waiting costs nothing."""
        with self._reader.use() as connection:
            found = [connection.execute(SQL["next_job"], (queue,)).fetchone()[0] for queue in queues]
        return min((at for at in found if at is not None), default=None)


def _publish(session: Session, requests: Sequence[_Publish]) -> list[None]:
    now = session.clock.now()
    session.insert(INSERT_JOBS, [(item.queue, now + item.delay_ms, 0, item.job.body) for item in requests])
    return [None] * len(requests)


def _receive(session: Session, requests: Sequence[_Receive]) -> list[list[Received]]:
    return [_receive_one(session, request) for request in requests]


def _receive_one(session: Session, request: _Receive) -> list[Received]:
    now = session.clock.now()
    visible: list[tuple[int, int]] = []
    for queue in request.queues:
        visible += [(at, no) for at, no in session.fetch_json("visible_jobs", queue, now, request.limit)]
    numbers = [no for _, no in sorted(visible)[: request.limit]]
    if not numbers:
        return []
    wanted = as_json(numbers)
    session.write("hide_jobs", now + request.visibility_ms, wanted)
    jobs = {no: (queue, deliveries, body) for no, queue, deliveries, body in session.fetch("jobs", wanted)}
    received = []
    for no in numbers:
        queue, deliveries, body = jobs[no]
        received.append(Received(queue, f"{no}:{deliveries}:{queue}", body, deliveries))
    return received


def _ack(session: Session, receipts: Sequence[str]) -> list[None]:
    now = session.clock.now()
    for receipt in receipts:
        no, deliveries, _ = _parse(receipt)
        session.write("ack_job", no, deliveries, now)
    return [None] * len(receipts)


def _hide(session: Session, requests: Sequence[_Hide]) -> list[None]:
    now = session.clock.now()
    for receipt, for_ms in requests:
        no, deliveries, _ = _parse(receipt)
        session.write("hide_job", no, deliveries, now, now + for_ms)
    return [None] * len(requests)


def _parse(receipt: str) -> tuple[int, int, str]:
    no, _, rest = receipt.partition(":")
    deliveries, _, queue = rest.partition(":")
    return int(no), int(deliveries), queue


def _jobs_topic(queue: str) -> str:
    return f"jobs\0{queue}"
