"""Between a simulated process and the backend: calls that take time, fail, happen twice, or come back from the dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from stepwell.errors import BackendError
from stepwell.testing.faults import Call
from stepwell.testing.simulator.ledger import forever
from stepwell.testing.simulator.processes import Process
from stepwell.testing.simulator.scenarios import Bells, Cut, Fault, Flaky, Full, Ill, Scenario, Slow
from stepwell.testing.simulator.witness import Witness

_LATE_MS = 30_000
_HANGS_MS = 2_000


class Network:
    """What lies between all processes and one backend."""

    def __init__(self, scenario: Scenario, choice: Random, witness: Witness) -> None:
        self.scenario = scenario
        self.witness = witness
        self.calls = 0
        self._choice = choice
        self._active: list[Fault] = []
        self._late: set[asyncio.Task[None]] = set()

    def begin(self, fault: Fault) -> None:
        """The fault is in effect from now on."""
        self._active.append(fault)

    def end(self, fault: Fault) -> None:
        """The fault is over."""
        self._active.remove(fault)

    def illness(self) -> str:
        """What goes wrong with an invocation of a body elsewhere."""
        for fault in self._active:
            if isinstance(fault, Ill) and self._choice.random() < fault.share:
                return fault.how
        return ""

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._active.clear()

    def policy(self, process: Process, worker: int) -> Callable[[Call], Coroutine[Any, Any, Any]]:
        """What decides about the calls of this process."""

        async def decide(call: Call) -> Any:
            self.calls += 1
            await self._take_time(worker)
            fault = self._strikes(call, worker)
            answer = await self._carry_out(call, process, fault)
            await self._take_time(worker)
            return answer

        return decide

    async def _take_time(self, worker: int) -> None:
        most = self.scenario.settings.latency_ms
        for fault in self._active:
            if isinstance(fault, Slow) and fault.worker == worker:
                most += fault.latency_ms
        if most:
            await asyncio.sleep(self._choice.randrange(most) / 1000)

    def _strikes(self, call: Call, worker: int) -> str:
        """What goes wrong with this call."""
        for fault in self._active:
            how = self._strike(fault, call, worker)
            if how:
                return how
        return ""

    def _strike(self, fault: Fault, call: Call, worker: int) -> str:
        choice = self._choice
        match fault:
            case Cut() if fault.worker == worker:
                return "after" if fault.answers_only else "before"
            case Full() if call.is_write:
                return "before"
            case Flaky() if fault.port in ("", call.port) and choice.random() < fault.share:
                return fault.how
            case Bells() if call.name == "queue.notify":
                number = choice.random()
                for share, how in ((fault.lost, "lost"), (fault.twice, "twice"), (fault.late, "delayed")):
                    if number < share:
                        return how
                    number -= share
        return ""

    async def _carry_out(self, call: Call, process: Process, how: str) -> Any:
        match how:
            case "before":
                await self._hang()
                raise BackendError(f"{call.name} does not reach the backend, on purpose")
            case "after":
                await self.witness.apply(call)
                await self._hang()
                raise BackendError(f"the answer of {call.name} is lost, on purpose")
            case "twice":
                await self.witness.apply(call)
            case "late" if call.is_write:
                self._again_later(call)
            case "lost":
                return None
            case "delayed":
                self._again_later(call)
                return None
            case "dies":
                if self._choice.random() < 0.5:
                    await self.witness.apply(call)
                process.kill()
                await forever()
        return await self.witness.apply(call)

    async def _hang(self) -> None:
        if self._choice.random() < 0.3:
            await asyncio.sleep(self._choice.randrange(_HANGS_MS) / 1000)

    def _again_later(self, call: Call) -> None:
        """A packet that was on its way for long. It belongs to nobody any more."""
        delay = self._choice.randrange(_LATE_MS) / 1000

        async def again() -> None:
            await asyncio.sleep(delay)
            if not self.witness.would_revive(call):
                with contextlib.suppress(BackendError):
                    await self.witness.apply(call)

        task = asyncio.get_running_loop().create_task(again(), context=self.witness.context.copy())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
