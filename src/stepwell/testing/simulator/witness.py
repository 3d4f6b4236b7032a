"""The witness: sees every call take effect, and holds each against the invariants of the design.

It stands behind all faults, at the backend itself, and looks straight into it. What it checks is numbered as in section
9 of the architecture. The first violation ends the simulation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

from stepwell.backends.memory.side import MemoryBlobs
from stepwell.backends.memory.world import World
from stepwell.errors import ActivationError
from stepwell.model.entries import StartChild
from stepwell.model.ids import Claim, CommandId, RunId, claim_identity
from stepwell.model.runs import TERMINAL, Head
from stepwell.ports import Append, Delivered, Delivery, NewRun, Park
from stepwell.testing.faults import Call
from stepwell.testing.simulator.debts import debts
from stepwell.testing.simulator.journals import Journal, Rules
from stepwell.testing.simulator.ledger import MARK_BYTES, Execution
from stepwell.testing.virtual import VirtualClock

_TOLERANCE_MS = 2_000
SOON_MS = 120_000
"""Within this time, a run that can go on must be looked at again."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: int, run: str, text: str) -> None:
        super().__init__(f"invariant {invariant}, run {run}: {text}")
        self.invariant = invariant
        self.run = run


class Witness:
    """All journals of one world, and what must hold about them."""

    def __init__(self, world: World, clock: VirtualClock, rules: Rules) -> None:
        self.context = copy_context()
        self.found: asyncio.Future[Violation] = asyncio.get_running_loop().create_future()
        self.journals: dict[RunId, Journal] = {}
        self.last_change_ms = clock.now()
        self.still_running: Callable[[RunId], list[Execution]] = lambda _: []
        self._world = world
        self._clock = clock
        self._rules = rules
        self._blobs = MemoryBlobs(world)
        self._blob_marks: set[bytes] = set()
        self._children: dict[tuple[RunId, str, int, str], RunId] = {}
        self._rested: dict[RunId, Head] = {}
        self._ever: set[RunId] = set()
        self._chunks: dict[str, dict[int, bytes]] = {}

    def would_revive(self, call: Call) -> bool:
        """Whether this creates a run that was deleted. Nothing tells the lives of an id apart: a known limit."""
        return call.name == "store.create" and any(
            new.head.id in self._ever and new.head.id not in self.journals for new in call.args[0]
        )

    def report(self, invariant: int, run: str, text: str) -> None:
        """Something is wrong. What comes first counts."""
        if not self.found.done():
            self.found.set_result(Violation(invariant, run, text))

    async def apply(self, call: Call) -> Any:
        """Let the call take effect, and look at what it did."""
        owners = self._owners(call)
        answer = await call.apply()
        if owners:
            self._check_fences(call, answer, owners)
        look = getattr(self, f"_after_{call.port}_{call.method}", None)
        if look is not None and not self.found.done():
            look(call.args, answer)
        return answer

    def began(self, execution: Execution, stands_on: Iterable[str]) -> None:
        """A step's body begins: all that it stands on must be in the journal (invariant 2)."""
        journal = self.journals.get(execution.run)
        if journal is None:
            self.report(2, execution.run, f"step {execution.step} runs, but there is no such run")
            return
        for mark in stands_on:
            if mark.encode() not in journal.marks and mark.encode() not in self._blob_marks:
                self.report(2, execution.run, f"step {execution.step} stands on {mark}, which is not durable")
        if not journal.was_asked(execution.step):
            self.report(2, execution.run, f"step {execution.step} runs, but no journal so far asks for it")
        head = self._world.runs[execution.run].head
        if journal.is_paused and head.owner is not None and claim_identity(head.owner) == execution.identity:
            self.report(7, execution.run, f"step {execution.step} is started although the run is paused")
        if claim_identity(Claim(journal.last_writer)) == execution.identity:
            if journal.ended is not None:
                self.report(5, execution.run, f"step {execution.step} is started although the run has ended")
            elif head.owner == journal.last_writer and journal.has_outcome(execution.step):
                self.report(2, execution.run, f"step {execution.step} is executed again, and its result is durable")
        if journal.created.not_before > self._clock.now() + _TOLERANCE_MS + self._rules.skew_ms:
            self.report(7, execution.run, f"step {execution.step} is started before the run may begin")

    def returned(self, execution: Execution) -> None:
        """A step's body came to its end by itself: somebody must have wanted that until a moment ago."""
        journal = self.journals.get(execution.run)
        if journal is None or claim_identity(Claim(journal.last_writer)) != execution.identity:
            return
        since = self._clock.now() - journal.changed_at
        if since > self._rules.slack_ms and not journal.wants(execution.step):
            self.report(6, execution.run, f"step {execution.step} goes on, {since} ms after it was not wanted any more")

    # --- fences

    def _owners(self, call: Call) -> dict[RunId, str | None]:
        """Who owns the runs that are to be written, before they are."""
        if call.name not in ("store.append", "store.park"):
            return {}
        stored = self._world.runs
        return {item.run: stored[item.run].head.owner for item in call.args[0] if item.run in stored}

    def _check_fences(self, call: Call, answer: list[str], owners: dict[RunId, str | None]) -> None:
        for item, said in zip(call.args[0], answer, strict=True):
            journal = self.journals.get(item.run)
            if said != "ok" or item.owner is None or item.owner == owners.get(item.run) or journal is None:
                continue
            if call.name == "store.park" or item.seq > len(journal.bodies):
                text = f"{call.name} of {item.owner} takes effect, and {owners.get(item.run)} is the owner"
                self.report(6, item.run, text)

    # --- after each call

    def _after_store_create(self, args: tuple[Any, ...], answer: list[Head | None]) -> None:
        runs: list[NewRun] = args[0]
        for new, present in zip(runs, answer, strict=True):
            if present is not None:
                continue
            run = new.head.id
            if run in self.journals:
                self.report(1, run, "is created a second time")
            self._ever.add(run)
            journal = self.journals[run] = Journal(new, self._blobs, self.report, self._rules)
            self._check_parent(journal)
            self._touched(run)

    def _after_store_append(self, args: tuple[Any, ...], answer: list[str]) -> None:
        appends: list[Append] = args[0]
        for append, _ in zip(appends, answer, strict=True):
            journal, stored = self.journals.get(append.run), self._world.runs.get(append.run)
            if journal is None or stored is None:
                continue
            known = len(journal.bodies)
            if sorted(stored.frames) != list(range(1, len(stored.frames) + 1)):
                self.report(1, append.run, f"the journal has holes: {sorted(stored.frames)}")
                return
            if (
                append.seq <= known
                and append.seq in stored.frames
                and stored.frames[append.seq] != journal.bodies[append.seq - 1]
            ):
                self.report(1, append.run, f"frame {append.seq} has been changed")
            for seq in range(known + 1, len(stored.frames) + 1):
                journal.add(stored.frames[seq])
                journal.changed_at = self.last_change_ms = self._clock.now()
            self._touched(append.run)

    def _after_store_park(self, args: tuple[Any, ...], answer: list[str]) -> None:  # noqa: ARG002
        parks: list[Park] = args[0]
        for park in parks:
            self._touched(park.run)

    def _after_store_take(self, args: tuple[Any, ...], answer: Any) -> None:  # noqa: ARG002
        for head in answer.heads:
            self._touched(head.id)
            for execution in self.still_running(head.id):
                text = f"is claimed by another, while step {execution.step} still runs in {execution.process}"
                self.report(6, head.id, text)
            if head.takes > self._rules.max_takes + 2 and not head.is_terminal:
                self.report(10, head.id, f"is claimed for the {head.takes}th time without progress")

    def _after_store_renew(self, args: tuple[Any, ...], answer: list[int | None]) -> None:
        for (run, claim), mail in zip(args[0], answer, strict=True):
            stored = self._world.runs.get(run)
            if mail is not None and (stored is None or stored.head.owner != claim):
                self.report(6, run, f"the lease of {claim} is renewed, which does not hold the run")
            self._touched(run)

    def _after_store_deliver(self, args: tuple[Any, ...], answer: list[Delivered]) -> None:
        deliveries: list[Delivery] = args[0]
        for delivery, delivered in zip(deliveries, answer, strict=True):
            journal = self.journals.get(delivery.run)
            if journal is None:
                continue
            if delivered.answer == "ok":
                if journal.ended is not None:
                    self.report(3, delivery.run, f"message {delivery.id} is accepted after the end")
                if delivery.id in journal.accepted:
                    self.report(3, delivery.run, f"message {delivery.id} is accepted twice")
                journal.accepted[delivery.id] = self._world.runs[delivery.run].head.mail
                self.last_change_ms = self._clock.now()
            self._check_intended(delivery.id, delivery.run)
            self._touched(delivery.run)

    def _after_store_delete(self, args: tuple[Any, ...], answer: list[bool]) -> None:
        for run, is_gone in zip(args[0], answer, strict=True):
            if is_gone and (journal := self.journals.pop(run, None)) is not None and not journal.is_settled:
                self.report(5, run, "is deleted before it is settled")

    def _after_store_reserve(self, args: tuple[Any, ...], answer: str) -> None:
        name, holder = args
        journal = self.journals.get(RunId(holder))
        if answer == holder and journal is not None and name.encode() not in b"".join(journal.bodies):
            self.report(9, holder, f"holds the name {name}, which its journal does not hold")

    def _after_streams_append(self, args: tuple[Any, ...], answer: bool) -> None:  # noqa: ARG002
        known, stream = self._chunks.setdefault(args[0], {}), self._world.streams.get(args[0])
        there = {} if stream is None else stream.chunks
        if any(there.get(index) != chunk for index, chunk in known.items()):
            self.report(7, args[0].partition("/")[0], f"chunks of {args[0]} have changed: {known}, {there}")
        self._chunks[args[0]] = dict(there)

    def _after_streams_delete(self, args: tuple[Any, ...], answer: None) -> None:  # noqa: ARG002
        self._chunks = {name: known for name, known in self._chunks.items() if not name.startswith(args[0])}

    def _after_blobs_put(self, args: tuple[Any, ...], answer: None) -> None:  # noqa: ARG002
        self._blob_marks.update(MARK_BYTES.findall(args[1]))

    # --- invariant 9

    def _check_parent(self, journal: Journal) -> None:
        parent = journal.created.parent
        if parent is None or parent.run not in self.journals:
            return
        command = parent.run, parent.lineage, parent.base, parent.command
        if self._children.setdefault(command, journal.run) != journal.run:
            self.report(9, journal.run, f"is the second child of {parent.command} in {parent.run}")
        intents = self.journals[parent.run].intents.values()
        if not any(isinstance(act, StartChild) and act.child == journal.run for act in intents):
            self.report(9, journal.run, f"is created before its parent {parent.run} has journaled that it will be")

    def _check_intended(self, message: str, to: RunId) -> None:
        kind, _, rest = message.partition(":")
        sender, _, command = rest.partition(".")
        journal = self.journals.get(RunId(sender.partition(":")[0]))
        if journal is None or (kind in ("cancel", "signal", "metadata") and not command):
            return
        command = command.partition(".")[2]
        is_settling = journal.ended is not None
        if kind == "child" and not is_settling:
            self.report(9, journal.run, "tells its parent of its end before that is durable")
        elif kind == "cancel" and not is_settling and CommandId(command) not in journal.intents:
            self.report(9, journal.run, f"cancels {to} before it has journaled that it will")
        elif kind == "metadata" and CommandId(command.rpartition(".")[0]) not in journal.intents:
            self.report(9, journal.run, f"changes the metadata of {to} before it has journaled that it will")
        elif kind == "signal" and CommandId(command.rpartition(".")[0]) not in journal.intents:
            self.report(9, journal.run, f"sends a signal to {to} before it has journaled that it will")

    # --- heads

    def _touched(self, run: RunId) -> None:
        stored, journal = self._world.runs.get(run), self.journals.get(run)
        if stored is None or journal is None or self.found.done():
            return
        head = stored.head
        if (journal.ended is not None) != (head.status in TERMINAL):
            self.report(5, run, f"its journal ends with {journal.ended}, its head says {head.status}")
        elif journal.ended is not None:
            self._check_ended(journal, head)
        elif head.owner is None and self._rested.get(run) is not head:
            self._rested[run] = head
            self._check_resting(journal, head)

    def _check_resting(self, journal: Journal, head: Head) -> None:
        """Nobody owns the run, so the head alone decides when it goes on (invariants 1 and 4)."""
        try:
            driver = journal.driver()
            latest = self._clock.now() + self._rules.skew_ms
            decision = driver.feed([], max(driver.at, min(driver.fold.not_before, latest)))
        except ActivationError as error:
            self.report(8, head.id, f"its journal cannot be replayed: {error}")
            return
        due, is_paused = driver.next_wake(), driver.is_paused
        todo: list[object] = (
            [] if is_paused else [*decision.entries, *(command.id for command in decision.start), *decision.acts]
        )
        if head.mail > journal.mail:
            todo.append(f"message {head.mail}")
        driver.evict()
        soon = self._clock.now() + SOON_MS + self._rules.skew_ms
        if todo and (head.wake_at is None or head.wake_at > soon):
            self.report(4, head.id, f"can go on with {todo}, but nobody will look at it before {head.wake_at}")
        elif due is not None and (head.wake_at is None or head.wake_at > max(due, soon)):
            self.report(4, head.id, f"waits for {due}, but will be woken at {head.wake_at}")
        elif head.wake_at is not None and head.wake_at <= soon:
            pass  # it will be looked at again before anybody relies on its head
        elif head.seq > len(journal.frames) or head.base != journal.base:
            text = f"its head says frame {head.seq}, base {head.base}; there are {len(journal.frames)}, {journal.base}"
            self.report(1, head.id, text)
        elif head.status in ("waiting", "paused") and (head.status == "paused") != is_paused:
            self.report(1, head.id, f"its head says {head.status}, its journal that it is paused: {is_paused}")

    def _check_ended(self, journal: Journal, head: Head) -> None:
        ended = journal.ended
        assert ended is not None, "asked about ended runs only"
        if head.status != ended.status:
            self.report(5, head.id, f"ended as {ended.status}, its head says {head.status}")
        if head.mail != journal.mail:
            self.report(3, head.id, f"ended with {head.mail} messages accepted and {journal.mail} journaled")
        if not head.is_settled:
            if head.wake_at is None:
                self.report(4, head.id, "has ended, is not settled, and nobody will look at it")
        elif not journal.is_settled:
            journal.is_settled = True
            self._check_debts(journal)

    def _check_debts(self, journal: Journal) -> None:
        run = journal.run
        if "~" in run:
            return  # the copy of a run that was started anew
        for debt in debts(run, journal.frames[journal.given :] if journal.created.forked_from else journal.frames):
            if not debt.message and debt.run not in self._ever:
                self.report(5, run, f"is settled, but never created its child {debt.run}")
            elif debt.message and not self._has_told(debt.run, debt.message):
                self.report(5, run, f"is settled, but never sent {debt.message}... to {debt.run}")
        parent = journal.created.parent
        if parent is not None and parent.on_parent_end != "abandon" and not self._has_told(parent.run, f"child:{run}:"):
            self.report(5, run, f"is settled, but never told its parent {parent.run}")
        for name, holder in self._world.names.items():
            if holder == run:
                self.report(5, run, f"is settled, but still holds the name {name}")

    def _has_told(self, run: RunId, id: str) -> bool:
        stored = self._world.runs.get(run)
        if stored is None or stored.head.status in TERMINAL:
            return True
        return any(known.startswith(id) for known in stored.ids)
