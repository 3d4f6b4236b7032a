"""Several processes on the same data. They are started once and race many times."""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import json

from stepwell.ports import Backend, Chunks, Job
from stepwell.testing.contracts.peer import ROUNDS, Answer, Task, main
from stepwell.testing.contracts.running import (
    ANY,
    LEASE_MS,
    TEST_S,
    Address,
    Contract,
    becomes,
    bodies,
    claim_of,
    created,
    head_of,
    inbox,
    new_run,
    on_backend,
)

PROCESSES = 3
CALLS = 7
"""Of each process at once, so that there are more than twenty in all."""


class Peer:
    """A process that takes part in races."""

    def __init__(self) -> None:
        paths = [path or os.getcwd() for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {main.__module__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> Answer:
        """Wait for its next answer; not for ever."""
        assert self._process.stdout is not None
        limit = threading.Timer(TEST_S / 2, self._process.kill)
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        assert line, f"the process {self._process.pid} ended with {self._process.wait()}; see its standard error"
        answer = json.decode(line, type=Answer)
        assert not answer.error, f"in the process {self._process.pid}:\n{answer.error}"
        return answer

    def kill(self) -> list[Answer]:
        """End it as the system would, and answer what it said before."""
        assert self._process.stdout is not None
        self._process.kill()
        # Not `communicate`, which does not know what `readline` has read ahead.
        text = self._process.stdout.read()
        self._process.communicate()
        return [json.decode(line, type=Answer) for line in text.splitlines(keepends=True) if line.endswith("\n")]


_idle: list[Peer] = []


@contextmanager
def _peers(count: int) -> Iterator[list[Peer]]:
    """Processes for one race. After an error they are not used again."""
    peers = [_idle.pop() if _idle else Peer() for _ in range(count)]
    try:
        yield peers
    except BaseException:
        for peer in peers:
            peer.kill()
        raise
    _idle.extend(peers)


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().kill()


def _start(peers: list[Peer], address: Address, race: str, calls: int) -> None:
    for who, peer in enumerate(peers):
        peer.tell(json.encode(Task(address, race, who, calls)).decode())
    for peer in peers:
        peer.hear()
    for peer in peers:
        peer.tell("go")


def _raced(address: Address, race: str, calls: int = CALLS, count: int = PROCESSES) -> list[list[str]]:
    """What each process won."""
    with _peers(count) as peers:
        _start(peers, address, race, calls)
        return [peer.hear().won for peer in peers]


class ProcessContract(Contract):
    """What another process sees; for all ports."""

    async def race(self, backend: Backend, race: str) -> list[str]:
        """What all processes together won."""
        won = await asyncio.to_thread(_raced, self.address(backend), race)
        return [item for wins in won for item in wins]

    async def winners(self, backend: Backend, race: str) -> dict[str, str]:
        """Who won which place; asserts that there was one winner for each."""
        won = [item.split(" ") for item in await self.race(backend, race)]
        assert [place for place, count in Counter(place for place, _ in won).items() if count > 1] == []
        winners: dict[str, str] = dict(won)
        assert len(winners) == ROUNDS
        return winners


class StoreProcessContract(ProcessContract, needs="is_shared"):
    """Processes that race for runs."""

    @on_backend
    async def test_of_several_processes_one_creates_a_run(self, backend: Backend) -> None:
        winners = await self.winners(backend, "create")
        assert {run: [body.decode() for body in await bodies(backend, run)] for run in winners} == {
            run: [winner] for run, winner in winners.items()
        }

    @on_backend
    async def test_of_several_processes_one_writes_a_frame(self, backend: Backend) -> None:
        await created(backend, new_run())
        winners = await self.winners(backend, "append")
        journal = [body.decode() for body in await bodies(backend)]
        assert journal[1:] == [winners[str(seq)] for seq in range(2, ROUNDS + 2)]

    @on_backend
    async def test_a_message_from_several_processes_is_accepted_once(self, backend: Backend) -> None:
        await created(backend, new_run())
        winners = await self.winners(backend, "deliver")
        mail = await inbox(backend)
        assert len(mail) == (await head_of(backend)).mail == ROUNDS + PROCESSES * CALLS * ROUNDS
        assert {item.id: item.body.decode() for item in mail if item.id.startswith("m")} == winners

    @on_backend
    async def test_several_processes_take_nothing_twice_and_leave_nothing(self, backend: Backend) -> None:
        ids = [f"r{k}" for k in range(60)]
        await created(backend, *[new_run(id) for id in ids])
        taken = [item.split(" ") for item in await self.race(backend, "take")]
        assert sorted(id for id, _ in taken) == sorted(ids)
        assert {id: str((await head_of(backend, id)).owner) for id in ids} == dict(taken)

    @on_backend
    async def test_of_several_processes_one_reserves_a_name(self, backend: Backend) -> None:
        for name, winner in (await self.winners(backend, "reserve")).items():
            assert await backend.store.resolve(name) == winner

    @on_backend
    async def test_what_a_killed_process_was_told_is_there(self, backend: Backend) -> None:
        address = self.address(backend)

        def write() -> list[Answer]:
            peer = Peer()
            try:
                _start([peer], address, "write for ever", 5)
                heard = [peer.hear() for _ in range(100)]
            finally:
                rest = peer.kill()
            return heard + rest

        told = [answer.won[0].split(" ") for answer in await asyncio.to_thread(write)]
        last = {run: max(int(seq) for other, seq in told if other == run) for run, _ in told}
        for run, seq in last.items():
            journal = await bodies(backend, run)
            assert len(journal) >= seq
            assert journal[1:] == [b"%d" % at for at in range(2, len(journal) + 1)]

    @on_backend
    async def test_a_run_of_a_killed_process_is_taken_over_when_its_lease_ends(self, backend: Backend) -> None:
        await created(backend, new_run())
        address = self.address(backend)

        def hold() -> None:
            peer = Peer()
            try:
                _start([peer], address, "hold", 1)
                peer.hear()
            finally:
                peer.kill()

        await asyncio.to_thread(hold)

        async def is_taken() -> bool:
            taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=1, serves=ANY)
            return len(taken.heads) == 1

        await becomes(is_taken, "the run is taken over")
        assert (await head_of(backend)).takes == 2


class QueueProcessContract(ProcessContract, needs="is_shared"):
    """Processes that want the same jobs."""

    @on_backend
    async def test_several_processes_receive_each_job_once(self, backend: Backend) -> None:
        await backend.queue.publish("q", [Job(b"%d" % k) for k in range(60)])
        received = await self.race(backend, "receive")
        assert sorted(received) == sorted(str(k) for k in range(60))

    @on_backend
    async def test_a_change_in_another_process_is_noticed_here(self, backend: Backend) -> None:
        """A notice may be lost, so the other process may give several."""
        heard = asyncio.ensure_future(anext(backend.queue.listen("t")))
        for _ in range(5):
            await self.race(backend, "ring")
            await asyncio.wait({heard}, timeout=2)
            if heard.done():
                return
        heard.cancel()
        raise AssertionError("no notice of another process was heard")

    @on_backend
    async def test_a_job_of_another_process_ends_the_wait_of_a_receiver(self, backend: Backend) -> None:
        received = asyncio.ensure_future(backend.queue.receive(["rung"], limit=1, wait_ms=20_000))
        await asyncio.sleep(0.01)
        await self.race(backend, "ring")
        assert len(await received) == 1


class CoordinationProcessContract(ProcessContract, needs="is_shared"):
    """Processes that want the same keys."""

    @on_backend
    async def test_of_several_processes_one_sets_a_key(self, backend: Backend) -> None:
        for key, winner in (await self.winners(backend, "set")).items():
            assert await backend.coordination.get(key) == winner

    @on_backend
    async def test_no_increment_of_several_processes_is_lost(self, backend: Backend) -> None:
        sums = [int(item) for item in await self.race(backend, "increment")]
        assert sorted(sums) == list(range(1, PROCESSES * CALLS * ROUNDS + 1))


class BlobsProcessContract(ProcessContract, needs="is_shared"):
    """Processes that write the same blob."""

    @on_backend
    async def test_a_blob_of_several_processes_is_that_of_one(self, backend: Backend) -> None:
        await self.race(backend, "put")
        data = await backend.blobs.get("run/k") or b""
        first = data.partition(b";")[0] + b";"
        assert data == first * 5000


class StreamsProcessContract(ProcessContract, needs="is_shared"):
    """Processes that write the same stream."""

    @on_backend
    async def test_of_several_processes_one_writes_a_chunk(self, backend: Backend) -> None:
        winners = await self.winners(backend, "stream")
        expected = [chunk for k in range(ROUNDS) for chunk in (winners[str(k)].encode(), b"x")]
        assert await backend.streams.read("s", 0, 100) == Chunks(tuple(expected), ROUNDS * 2)
