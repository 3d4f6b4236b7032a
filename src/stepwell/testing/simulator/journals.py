"""What a run's journal has shown so far, and the rules that each new frame must keep."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from stepwell.authoring.programs import program_of
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec
from stepwell.engine.driver import Driver
from stepwell.engine.prefix import generation_start
from stepwell.model.entries import (
    Act,
    AttemptFailed,
    ContinuedAsNew,
    Created,
    Ended,
    Entry,
    Frame,
    Intended,
    OpenHook,
    Received,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.ids import Claim, CommandId, MessageId, RunId, is_invocation
from stepwell.model.messages import CancelRequested, PauseRequested, ResumeRequested
from stepwell.model.runs import Head
from stepwell.ports import Blobs, NewRun
from stepwell.runtime.payloads import loaded_frames
from stepwell.testing.simulator.dispatches import dispatch
from stepwell.testing.simulator.dues import Dues, name_of
from stepwell.testing.simulator.ledger import MARK_BYTES
from stepwell.testing.simulator.plans import AWAY
from stepwell.testing.simulator.playing import ATTEMPTS, WORKFLOWS, act, book, play, unbook
from stepwell.testing.worlds import at_once


def new_registry(*, is_ignorant: bool = False) -> Registry:
    """What an app has; one that `is_ignorant` is that of a worker which was not deployed anew."""
    registry = Registry([*([play] if is_ignorant else WORKFLOWS.values()), act, book, unbook], Codec())
    registry.dispatch = dispatch
    return registry


REGISTRY = new_registry()
IGNORANT = new_registry(is_ignorant=True)
WITNESS = Claim("witness:0")

NEVER = 10**15
"""So many milliseconds do not pass."""


class Rules(Struct, frozen=True, kw_only=True):
    """What depends on the scenario: how often a run is claimed in vain before it is dead; how far (ms) clocks are
    apart, and how exactly the backend's and a worker's are compared; how late a timer may fire; how long it takes to
    stop what is to be stopped."""

    max_takes: int = 10
    skew_ms: int = 0
    clocks_ms: int = NEVER
    lateness_ms: int = NEVER
    slack_ms: int = NEVER


Report = Callable[[int, RunId, str], None]
"""Takes the invariant's number, the run, and what is wrong."""


def driver_of(run: RunId, frames: list[tuple[int, Frame]]) -> Driver:
    """A driver made of nothing but a journal, from the frame that begins its last generation."""
    start = generation_start(frames[0][1])
    workflow = WORKFLOWS[start.workflow if isinstance(start, Created) else start.created.workflow]
    head = Head(id=run, workflow=workflow.id, created_at=0)
    return Driver(head, frames, WITNESS, lambda origin: program_of(workflow, REGISTRY, origin))


class Journal:
    """The frames of one run as they came, and what follows from them.

    `marks_of`: the mark of the execution whose result was journaled here, by step; `id@base` from the second generation
    on, as streams name their sources.
    """

    def __init__(self, new: NewRun, blobs: Blobs, report: Report, rules: Rules | None = None) -> None:
        run, bodies, mail = new.head.id, new.frames, new.head.mail
        self.run = run
        self.bodies: list[bytes] = []
        self.frames: list[Frame] = []
        self.base = 1
        self.mail = mail
        self.accepted: dict[MessageId, int] = {}
        self.marks: set[bytes] = set()
        self.intents: dict[CommandId, Act] = {}
        self.ended: Ended | None = None
        self.asked: set[CommandId] = set()
        self.is_settled = False
        self.is_paused = False
        self.was_paused = False
        self.changed_at = 0
        self._rules = rules or Rules()
        self.marks_of: dict[str, str] = {}
        self.given = len(bodies)
        self.dues = Dues()
        self._kill_at = NEVER
        self._blobs = blobs
        self._report = report
        self._timeouts: dict[str, int] = {}
        self._claim = ""
        self._past: set[str] = set()
        self._results: set[CommandId] = set()
        self._given_up: set[CommandId] = set()
        self._giving_up: set[CommandId] = set()
        self._attempts: dict[CommandId, int] = {}
        for body in bodies:
            self.add(body)

    @property
    def created(self) -> Created:
        """The run's first entry."""
        entry = self.frames[0].entries[0]
        assert isinstance(entry, Created), "frame 1 holds it"
        return entry

    def generation(self, until: int | None = None) -> list[tuple[int, Frame]]:
        """The frames of the generation that frame `until` (by default the last) belongs to, as far as that."""
        last = len(self.frames) if until is None else until
        base = last
        while base > 1 and not isinstance(self.frames[base - 1].entries[-1], ContinuedAsNew):
            base -= 1
        return [(seq, self.frames[seq - 1]) for seq in range(base, last + 1)]

    def driver(self, until: int | None = None) -> Driver:
        """A fresh driver of that generation."""
        return driver_of(self.run, self.generation(until))

    @property
    def last_writer(self) -> str:
        """The claim that wrote the last frame."""
        return self._claim

    def add(self, body: bytes) -> None:
        """The next frame."""
        ((_, frame),) = at_once(loaded_frames(self._blobs, [(1, body)]))
        self.bodies.append(body)
        self._given_up |= self._giving_up
        self.frames.append(frame)
        self.marks.update(MARK_BYTES.findall(body))
        is_new = len(self.frames) > self.given
        if is_new:
            self._check_writer(frame)
        for entry in frame.entries:
            if self.ended is not None:
                self._wrong(5, f"{type(entry).__name__} comes after the end")
            self._add_entry(entry, frame, is_new=is_new)

    def was_asked(self, step: CommandId) -> bool:
        """Whether some beginning of the journal asks for this step."""
        until = len(self.frames)
        while step not in self.asked and until > 0:
            driver = self.driver(until)
            if driver.ended is None:
                driver.feed([], max(driver.at, driver.fold.not_before))
                self.asked.update(driver.steps)
            driver.evict()
            until -= 1
        return step in self.asked

    def has_outcome(self, step: CommandId) -> bool:
        """Whether this generation holds how the step ended."""
        return step in self._results

    def wants(self, step: CommandId) -> bool:
        """Whether the journal as it is leaves the step's outcome open, or has it."""
        if self.ended is not None:
            return False
        driver = self.driver()
        driver.feed([], max(driver.at, driver.fold.not_before))
        wanted = step in driver.steps or step in self._results
        driver.evict()
        return wanted

    # --- inside

    def _wrong(self, invariant: int, text: str) -> None:
        self._report(invariant, self.run, f"frame {len(self.frames)}: {text}")

    def _check_writer(self, frame: Frame) -> None:
        if len(self.frames) > 1 and frame.at < self.frames[-2].at:
            self._wrong(1, "time goes back")
        if frame.by != self._claim:
            if frame.by in self._past:
                self._wrong(6, f"{frame.by} writes again, after {self._claim} has written")
            self._past.add(self._claim)
            self._claim = frame.by

    def _add_entry(self, entry: Entry, frame: Frame, *, is_new: bool) -> None:
        match entry:
            case StepCompleted() | StepFailed() | AttemptFailed():
                self._add_outcome(entry, is_new=is_new)
                self.dues.add(entry, frame.at, is_held=self.is_paused)
            case TimerFired() if is_new:
                self._add_timer(entry, frame.at)
            case Received():
                self._add_message(entry, frame.at, is_new=is_new)
            case Intended(id=id, act=act):
                self.intents[id] = act
            case ContinuedAsNew():
                self._begin_generation(entry)
            case Ended():
                self.ended = entry
                if frame.at > self._kill_at + self._rules.lateness_ms:
                    self._wrong(7, f"the grace of its cancel was over at {self._kill_at}, it ended at {frame.at}")
            case _:
                pass

    def _add_outcome(self, entry: StepCompleted | StepFailed | AttemptFailed, *, is_new: bool) -> None:
        id, attempt = entry.id, entry.attempt
        via = "" if isinstance(entry, AttemptFailed) else entry.via
        if not is_new:
            pass
        elif via:
            if via in self._results or via in self._given_up:
                self._wrong(6, f"step {id} is journaled after its invocation {via} was over")
        elif attempt != self._attempts.get(id, 0) + 1:
            self._wrong(2, f"attempt {attempt} of step {id} follows attempt {self._attempts.get(id, 0)}")
        elif attempt > ATTEMPTS and not is_invocation(id):
            self._wrong(2, f"step {id} was tried {attempt} times")
        if is_new and id in self._results:
            self._wrong(2, f"step {id} has a second outcome")
        if isinstance(entry, AttemptFailed):
            self._attempts[id] = attempt
        else:
            self._results.add(id)
        if is_invocation(id):
            return
        if isinstance(entry, StepCompleted) and is_new and (mark := MARK_BYTES.search(bytes(entry.value))):
            self.marks_of[f"{id}@{self.base}" if self.base > 1 else id] = mark.group().decode()

    def _begin_generation(self, entry: ContinuedAsNew) -> None:
        self.base = len(self.frames)
        self.is_paused = False
        self.intents = {id: act for id, act in self.intents.items() if not isinstance(act, OpenHook)}
        self._results.clear()
        self._given_up.clear()
        self._giving_up.clear()
        self._attempts.clear()
        for frame in entry.history:
            for kept in frame.entries:
                if isinstance(kept, StepCompleted | StepFailed | AttemptFailed):
                    self._add_outcome(kept, is_new=False)
                elif isinstance(kept, Intended):
                    self.intents[kept.id] = kept.act

    def _give_up(self) -> None:
        """The run is cancelled: what its body elsewhere was asked before it may not answer any more."""
        if self.created.workflow == AWAY and len(self.frames) > 1:
            driver = self.driver(len(self.frames) - 1)
            driver.feed([], max(driver.at, driver.fold.not_before))
            self._giving_up.update(driver.steps)  # what has come with the cancel is as good
            driver.evict()

    def _add_timer(self, entry: TimerFired, at: int) -> None:
        name = name_of(entry.name)
        self._timeouts[name] = max(self._timeouts.get(name, 0), entry.due)
        if self.base == 1 and (moved := self.dues.wrong(entry)):
            self._wrong(7, moved)
        if entry.due > at:
            self._wrong(7, f"a timer due at {entry.due} fired at {at}")
        elif at - max(entry.due, self.dues.answered_at) > self._rules.lateness_ms and not (
            self.was_paused or self.created.forked_from
        ):
            self._wrong(7, f"a timer due at {entry.due} fired at {at}, and nothing had gone wrong")

    def _add_message(self, entry: Received, at: int, *, is_new: bool) -> None:
        match entry.message:
            case PauseRequested():
                self.is_paused = self.was_paused = True
            case CancelRequested(grace_ms=grace_ms):
                self.is_paused = False
                self.dues.release(at)
                self._give_up()
                if grace_ms is not None:
                    self._kill_at = min(self._kill_at, at + grace_ms)
            case ResumeRequested():
                self.is_paused = False
                self.dues.release(at)
            case _:
                pass
        if not is_new:
            return
        due = self._timeouts.get(getattr(entry.message, "name", ""), 0)
        if entry.at < due - self._rules.clocks_ms:
            self._wrong(7, f"message {entry.no} came at {entry.at}, and the wait for it had timed out at {due}")
        if entry.no != self.mail + 1:
            self._wrong(3, f"message {entry.no} ({entry.id}) is journaled after message {self.mail}")
        elif self.accepted.get(entry.id) != entry.no:
            self._wrong(3, f"message {entry.no} ({entry.id}) was accepted as {self.accepted.get(entry.id)}")
        self.mail = max(self.mail, entry.no)
