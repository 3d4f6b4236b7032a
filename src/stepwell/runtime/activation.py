"""A run in memory: the driver's decisions carried out.

What happens to a run arrives here as entries: outcomes of steps, messages, confirmations, the passing of time. While a
frame is being written, arrivals wait; there is never more than one append in flight per run. When a frame is durable,
its effects begin. When nothing can move without the outside, the run parks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET

from stepwell.codec import SPILL_THRESHOLD, failure_of
from stepwell.engine.decisions import Arrival, Decision
from stepwell.engine.driver import Driver
from stepwell.engine.program import ActCommand, StepCommand
from stepwell.errors import ActivationError, NotDurableError
from stepwell.model.entries import Confirmed, Entry, FrameCodec, Received, Sent
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId
from stepwell.model.runs import Head
from stepwell.ports import Append, Appended, Park, Parked
from stepwell.runtime.chunks import StreamWriter, StreamWriters
from stepwell.runtime.heads import head_change, metadata_of
from stepwell.runtime.mail import load_mail
from stepwell.runtime.patience import until_answered
from stepwell.runtime.payloads import pins, spilled_frame
from stepwell.runtime.steps import RunningStep

if TYPE_CHECKING:
    from stepwell.runtime.worker import Worker

T = TypeVar("T")

_log = logging.getLogger("stepwell")


class Activation:
    """One claimed run, held by a worker until it parks, ends, or is lost."""

    __slots__ = (
        "_arrivals",
        "_in_flight",
        "_is_reset_due",
        "_mail_task",
        "_tasks",
        "_timer",
        "_timer_at",
        "_writers",
        "driver",
        "head",
        "is_draining",
        "is_gone",
        "lease_ends",
        "lease_ms",
        "mail_known",
        "run",
        "running",
        "worker",
    )

    def __init__(self, worker: Worker, driver: Driver, head: Head, lease_ends: float) -> None:
        self.worker = worker
        self.driver = driver
        self.head = head
        self.run = driver.run
        self.lease_ends = lease_ends
        self.lease_ms = worker.options.lease_ms
        self.mail_known = head.mail
        self.running: dict[CommandId, RunningStep] = {}
        self.is_gone = False
        self.is_draining = False
        self._arrivals: list[Arrival] = []
        self._in_flight: Decision | None = None
        self._tasks: dict[CommandId, asyncio.Task[None]] = {}
        self._mail_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._writers = StreamWriters(worker.backend.streams, worker.backend.queue, self.run, driver.claim)
        # After a crash, the next durable frame shows that this run does not kill its workers.
        self._is_reset_due = head.takes > 1

    @property
    def base(self) -> int:
        """The seq at which the generation began."""
        return self.driver.origin.base

    # --- what comes in

    def begin(self, loaded_at: int | None = None) -> None:
        """Start, or go on with what the journal holds; and with the mail, if that was read at `loaded_at`."""
        worker = self.worker
        if worker.hub.telemetry.is_on:
            worker.hub.telemetry.begun(self, [item.time for item in self._arrivals], worker.clock.now())
        self._writers.copy(self.driver.fold.take_sends())
        if self.driver.ended is not None:
            self.worker.spawn(self._settle_all())
        else:
            self.advance(loaded_at, mail_is_known=loaded_at is not None)

    def arrive(self, entry: Entry, time: int, *, before: Iterable[Entry] = ()) -> None:
        """Something happened, after something else at the same time. It is journaled with the next frame."""
        if self.is_gone:
            return
        if before:
            self._arrivals.extend(Arrival(time, earlier) for earlier in before)
        self._arrivals.append(Arrival(time, entry))
        if self._in_flight is None:
            self.advance(time)

    def step_ended(self, step: RunningStep) -> None:
        """The step's task is over. By then another may have its id: one of the next generation."""
        if self.running.get(step.id) is step:
            del self.running[step.id]

    def mail_arrived(self, mail: int | None = None) -> None:
        """There is, or may be, mail in the inbox."""
        if mail is not None:
            self.mail_known = max(self.mail_known, mail)
            if mail <= self.driver.mail:
                return
        if not self.is_gone and self._mail_task is None:
            self._mail_task = self.worker.spawn(self._fetch_mail())

    def put_mail(self, mail: Iterable[Received]) -> None:
        """Messages that were loaded from the inbox."""
        for entry in mail:
            self.mail_known = max(self.mail_known, entry.no)
            self._arrivals.append(Arrival(entry.at, entry))

    def advance(self, now: int | None = None, *, mail_is_known: bool = False) -> None:
        """Decide what follows from the arrivals and the time; `mail_is_known` if the inbox was read at that time."""
        if self._in_flight is not None or self.is_gone or self.driver.ended is not None:
            return
        if now is None:
            now = self.worker.clock.now()
        if not mail_is_known and self.driver.is_time_up(now):
            self.mail_arrived()  # a message that was accepted before the timer was due goes first
            return
        arrivals, self._arrivals = self._arrivals, []
        try:
            decision = self.driver.feed(arrivals, now)
            if self.worker.options.impure_check:
                self.worker.hub.impure(self.head.workflow, self.run, self.driver.impure)
            if not decision.entries and self._must_save_notes():
                decision.add_notes(self.driver.program.take_notes())  # type: ignore[union-attr]
        except (ActivationError, Exception) as error:
            self.worker.activation_failed(self, error)
            return
        if decision.entries:
            self._submit(decision)
        else:
            self._follow(decision)

    def bury(self, failure: Failure) -> None:
        """End the run as dead. Its streams get what they still lack."""
        self._writers.copy(self.driver.fold.take_sends())
        self._submit(self.driver.bury(failure, self.worker.clock.now()))

    # --- frames

    def _submit(self, decision: Decision) -> None:
        self._in_flight = decision
        if self._writers and self.driver.is_restarting(decision):
            self.worker.spawn(self._submit_after_chunks(decision))
        else:
            self._submit_now(decision)

    async def _submit_after_chunks(self, decision: Decision) -> None:
        """A generation is not read again when the next has begun, so its streams must have its chunks before."""
        await self._writers.flush()
        if not self.is_gone:
            self._submit_now(decision)

    def _submit_now(self, decision: Decision) -> None:
        frame = self.driver.frame(decision)
        body = FrameCodec.encode(frame)
        if len(body) > SPILL_THRESHOLD or ((decision.acts or decision.has_notes) and pins(frame)):
            self.worker.spawn(self._submit_large(decision))
        else:
            self._append(decision, body)

    async def _submit_large(self, decision: Decision) -> None:
        frame, blobs = self.driver.frame(decision), self.worker.backend.blobs
        body = await self._persist("storing a large payload", lambda: spilled_frame(blobs, self.run, frame))
        if body is not None and not self.is_gone:
            self._append(decision, body)

    def _append(self, decision: Decision, body: bytes) -> None:
        driver = self.driver
        change = head_change(driver, decision, has_streams=bool(self._writers), resets_takes=self._is_reset_due)
        is_guarded = decision.is_guarded or change is not None
        append = Append(
            run=self.run,
            seq=driver.seq + 1,
            body=body,
            owner=driver.claim if is_guarded else None,
            mail=driver.mail if driver.ended is not None else None,
            head=change,
        )
        self.worker.appends.submit(append, self._appended, is_wanted=self._is_wanted)

    def _is_wanted(self) -> bool:
        return not self.is_gone

    def _appended(self, answer: Appended) -> None:
        decision = self._in_flight
        self._in_flight = None
        if self.is_gone or decision is None:
            return
        if answer == "ok":
            self._is_reset_due = False
            if self.worker.hub.watches:
                self.worker.hub.committed(self.run, self.driver.seq + 1, self.driver.frame(decision))
            self.driver.committed(decision)
            if self.worker.hub.telemetry.is_on:
                self.worker.hub.telemetry.committed(self, decision.entries)
            self._follow(decision)
        elif answer == "mail":
            self._in_flight = decision
            self.worker.spawn(self._add_mail_to_end(decision))
        elif answer == "exists":
            self.worker.reload(self)
        else:
            self.worker.lost(self)

    async def _add_mail_to_end(self, decision: Decision) -> None:
        """A message came before the end was written: it belongs into the journal, and into the same frame."""
        arrived = self._arrivals
        await self._load_mail()
        messages = [arrival.entry for arrival in self._arrivals if isinstance(arrival.entry, Received)]
        self._arrivals = [] if arrived is self._arrivals else arrived
        if not self.is_gone:
            self.driver.add_mail(decision, messages)
            self._submit(decision)

    # --- effects

    def _follow(self, decision: Decision) -> None:
        """The decision is durable: begin its effects."""
        if self.worker.events is not None:
            self.worker.events.tell(self.driver, decision)
        if decision.has_notes:
            self._writers.copy((self.base, entry) for entry in decision.entries if type(entry) is Sent)
        for id in decision.stop:
            if (step := self.running.pop(id, None)) is not None:
                step.stop()
        if self.driver.ended is not None:
            self._ended()
            return
        if self.driver.continued is not None:
            self._stop_steps()
            self._stop_tasks()  # acts that were done twice; all are confirmed
            # What steps of the old generation brought meanwhile is nobody's: the next has steps of the same ids.
            self._arrivals = [arrival for arrival in self._arrivals if isinstance(arrival.entry, Received)]
            self.driver = self.driver.successor()
            self.advance()
            return
        for command in decision.start:
            self._start(command)
        if decision.acts:
            self._begin_acts(decision.acts)
        if self._arrivals:
            self.advance()
        else:
            self._rest()

    def _stop_steps(self) -> None:
        for step in self.running.values():
            step.stop()
        self.running.clear()

    def _stop_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _start(self, command: StepCommand) -> None:
        if command.id in self.running or command.id in self._tasks or self.is_draining:
            return
        if self._arrivals and any(getattr(arrival.entry, "id", None) == command.id for arrival in self._arrivals):
            return  # it ran through a pause, and its outcome is about to be journaled
        lease_ms = command.definition.options.lease_ms
        if lease_ms is not None and lease_ms > self.lease_ms:
            self.lease_ms = lease_ms
            self._tasks[command.id] = self.worker.spawn(self._start_with_lease(command))
        else:
            self.running[command.id] = self.worker.steps.start(self, command)

    async def _start_with_lease(self, command: StepCommand) -> None:
        """A step that may hold the interpreter for long begins when the longer lease is the store's."""
        is_held = await self.worker.leases.extend(self)
        self._tasks.pop(command.id, None)
        if is_held and self.driver.steps.get(command.id) is command:
            self.running[command.id] = self.worker.steps.start(self, command)

    def _begin_acts(self, acts: list[ActCommand]) -> None:
        done = {arrival.entry.id for arrival in self._arrivals if isinstance(arrival.entry, Confirmed)}
        for act in acts:
            if act.id not in self._tasks and act.id not in done:
                self._tasks[act.id] = self.worker.spawn(self._perform(act))

    async def _perform(self, act: ActCommand) -> None:
        driver = self.driver
        try:
            failure = await self._persist(act.id, lambda: self.worker.acts.perform(driver, act))
        except Exception as error:  # the body shall know, whatever it is
            _log.exception("run %s, %s failed", self.run, act.id)
            failure = failure_of(error)
        self._tasks.pop(act.id, None)
        if self.driver is driver:  # else it is an act of a generation that has ended
            self.arrive(Confirmed(id=act.id, failure=failure), self.worker.clock.now())

    async def _persist(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """Repeat the call while the backend fails and the run is ours."""
        return await until_answered(f"run {self.run}, {what}", call, is_wanted=self._is_wanted)

    def writer(self, stream: str) -> StreamWriter:
        """The writer of one of the run's streams."""
        if self.worker.hub.watches:
            self.worker.hub.sending(self.run)
        return self._writers.of(stream)

    def _ended(self) -> None:
        self._cancel_timer()  # who sees one takes the run for idle
        self._stop_steps()
        ended = self.driver.ended
        assert ended is not None, "called when the end is durable"
        if not self.driver.obligations() and not self._writers:
            self.worker.finished(self, ended)
        else:
            self.worker.spawn(self._settle_all())

    async def _settle_all(self) -> None:
        ended = self.driver.ended
        assert ended is not None, "only ended runs settle"
        await self._writers.flush()
        for obligation in self.driver.obligations():
            await self._persist("settling", partial(self.worker.acts.settle, self.driver, obligation))
        if not self.is_gone:
            park = Park(run=self.run, owner=self.driver.claim, wake_at=None)
            self.worker.parks.submit(park, lambda _: self.worker.finished(self, ended), is_wanted=self._is_wanted)

    # --- mail

    async def _fetch_mail(self) -> None:
        asked_at = self.worker.clock.now()
        try:
            await self._load_mail()
        finally:
            self._mail_task = None
        if self._in_flight is None:
            if self._arrivals or self.driver.is_time_up(asked_at):
                self.advance(asked_at, mail_is_known=True)
            else:
                self._rest()

    async def _load_mail(self) -> None:
        mail = await self._persist("mail", lambda: load_mail(self))
        if mail is not None:
            self.put_mail(mail)

    # --- resting

    def _rest(self) -> None:
        """Nothing arrived: wait for what is under way, for a near timer, or let the run go."""
        if self.is_gone or self._mail_task is not None or self.driver.ended is not None:
            return
        driver = self.driver
        if self.mail_known > driver.mail:
            self.mail_arrived()
            return
        wake_at = driver.next_wake()
        is_busy = bool(self.running or self._tasks)
        if wake_at is None and is_busy:
            return
        now = self.worker.clock.now()
        if self.is_draining and not is_busy:
            self._park(now)
        elif wake_at is not None and (is_busy or wake_at - now <= self.worker.options.hold_ms):
            self._set_timer(wake_at, now)
            if not is_busy:
                self._tell_of_rest()
        elif not is_busy:
            self._park_idle(wake_at)

    def _park_idle(self, wake_at: int | None) -> None:
        driver = self.driver
        program = driver.program
        place = None if wake_at is not None or driver.is_paused or program is None else program.stuck_at()
        if place is not None:
            text = (
                f"run {self.run} waits at {place} for something that only this process could deliver: no "
                "step, timer, message or child would ever wake it. Wait for one of these, or do it in a step"
            )
            self.worker.activation_failed(self, NotDurableError(text))
            return
        if program is not None and (notes := program.take_notes()):
            decision = Decision()
            decision.add_notes(notes)
            self._submit(decision)
            return
        self._park(wake_at)

    def _park(self, wake_at: int | None) -> None:
        driver = self.driver
        park = Park(
            run=self.run,
            owner=driver.claim,
            mail=driver.mail,
            wake_at=wake_at,
            seq=driver.seq,
            status="paused" if driver.is_paused else "waiting",
            waiting=tuple(driver.waits())[:20],
            metadata=metadata_of(driver),
            error="" if self.head.error else UNSET,
        )
        self._in_flight = Decision()
        self.worker.parks.submit(park, self._parked, is_wanted=self._is_wanted)

    def _parked(self, answer: Parked) -> None:
        self._in_flight = None
        if self.is_gone:
            return
        if answer == "mail":
            self.mail_arrived()
        else:
            # Mail that has been read meanwhile came after the store let go, which made the run due again.
            self._tell_of_rest()
            self.worker.parked(self)

    def _tell_of_rest(self) -> None:
        if self.worker.hub.watches:
            self.worker.hub.rested(self.run, self.driver.waits())

    def _must_save_notes(self) -> bool:
        program = self.driver.program
        return program is not None and program.has_urgent_notes

    # --- time, and the end of it

    def _set_timer(self, wake_at: int, now: int) -> None:
        if self._timer is not None:
            if self._timer_at <= wake_at:
                return  # it will fire too early, and find that out; cheaper than a new one for every step
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = asyncio.get_running_loop().call_later(max(0, wake_at - now) / 1000, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        wake_at, now = self.driver.next_wake(), self.worker.clock.now()
        if wake_at is not None and now < wake_at:
            self._set_timer(wake_at, now)
        elif self._in_flight is None:
            self.advance(now)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> bool:
        """Park now if the run only waits for a timer that is not far: others want its place. Whether it does."""
        is_idle = self._timer is not None and not self.running and not self._tasks
        if not is_idle or self._in_flight is not None or self._mail_task is not None:
            return False
        self._cancel_timer()
        self._park_idle(self.driver.next_wake())
        return True

    def drain(self) -> None:
        """Start nothing more; park as soon as nothing is under way."""
        self.is_draining = True
        if self._in_flight is None and not self._arrivals and not self.running and not self._tasks:
            self._cancel_timer()
            self._rest()

    def abandon(self) -> None:
        """The run is not this worker's any more, or is let go with work under way: stop everything, write nothing."""
        if self.is_gone:
            return
        self.is_gone = True
        self._cancel_timer()
        self._stop_steps()
        self._writers.stop()
        self._stop_tasks()
        self.worker.hub.lost(self.run)
        self.driver.evict()

    def forget(self) -> None:
        """Let go without unwinding: the driver goes to the cache, or its run has ended."""
        self.is_gone = True
        self._cancel_timer()
