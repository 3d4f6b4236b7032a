"""A blueprint, step by step: forwards, backwards, and with a look at everything in between. No store, no worker.

What runs is what a worker runs: the graph program, and real nodes, which get what they get there. The journal is a list
of lines in memory; to go back is to read one action less of it. Time stands still but for timers and retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import UNSET, Raw, structs

from stepwell import backends
from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.nodes import Middleware, NodeResult
from stepwell.authoring.programs import graph_program
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec, failure_of
from stepwell.engine.graph.outcome import NodeOutcome
from stepwell.engine.graph.program import GraphProgram
from stepwell.engine.graph.state import GraphState, Standing, graph_state, node_path, waiting_visits
from stepwell.engine.graph.visits import Visit
from stepwell.engine.program import Abandon, ActCommand, Completed, Failed, Line, Origin, StepCommand
from stepwell.errors import DefinitionError, RunConflictError, StepwellError
from stepwell.model.entries import (
    AttemptFailed,
    Created,
    Ended,
    Entry,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
    StepProgressed,
    TimerFired,
)
from stepwell.model.failures import NULL
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import ChildEnded, HookCompleted, Message
from stepwell.ports import Backend
from stepwell.runtime.chunks import StreamWriter
from stepwell.runtime.graphs import check_action, envelope
from stepwell.runtime.steps import RunningStep, StepRunner
from stepwell.testing.virtual import EPOCH

_RUN = RunId("stepper")
_THREADS = 8


class Stepper:
    """One run of a blueprint in your hands: `async with Stepper(flow, {...}) as run: await run.next()`.

    `answers` stand in for nodes, by node or visit id: an output, a `NodeResult`, or an exception. Nodes that are
    workflows need one; a node that waits takes it as soon as it can. `dependencies` are what the app's `lifespan` would
    yield, by type or by name.
    """

    def __init__(
        self,
        flow: Blueprint[Any, Any],
        input: Any = None,
        *,
        include: Iterable[object] = (),
        answers: Mapping[str, Any] | None = None,
        middleware: Sequence[Middleware] = (),
        dependencies: Mapping[Any, Any] | None = None,
    ) -> None:
        self.registry = Registry([flow, *include], Codec(), middleware=middleware)
        self.flow = flow
        self._input = self.registry.input_of(flow, (input,))
        self._answers = dict(answers or {})
        self._dependencies = dict(dependencies or {})
        self._clock = _Clock(round(EPOCH.timestamp() * 1000))
        self._actions: list[_Action] = []
        self._steps: dict[CommandId, StepCommand] = {}
        self._children: dict[CommandId, StartChild] = {}
        self._attempts: dict[CommandId, AttemptFailed] = {}
        self._backend: Backend | None = None
        self._runner: StepRunner | None = None
        self._program: GraphProgram | None = None

    async def __aenter__(self) -> Self:
        """Begin the run: its first nodes are ready."""
        self._backend = await backends.open("memory://")
        self._runner = StepRunner(
            self.registry,
            self._backend.blobs,
            self._clock,
            threads=_THREADS,
            resources=self._dependencies,
            secrets=None,
        )
        self._replay()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None and self._backend is not None:
            self._runner.close()
            await self._backend.close()
        self._program = None

    # --- looking

    @property
    def state(self) -> GraphState:
        """Where all nodes stand."""
        program, ended = self._begun, self._ended()
        is_busy = bool(self._steps or self._children)
        status = ended.status if ended is not None else "running" if is_busy else "waiting"
        standing = Standing(
            status=status, seq=1 + len(self._actions), at=self._clock.at, ended=ended, attempts=self._attempts
        )
        return graph_state(program, standing)

    @property
    def is_done(self) -> bool:
        """Whether the run has ended."""
        return self._begun.outcome is not None

    @property
    def ready(self) -> tuple[str, ...]:
        """The visits that `next` does."""
        answered = [visit.id for visit in waiting_visits(self._begun) if self._answer(visit.id) is not UNSET]
        return (*self._steps, *self._children, *answered)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The visits that wait for `resume`."""
        return tuple(visit.id for visit in waiting_visits(self._begun))

    # --- moving

    async def next(self, node: str | None = None) -> GraphState | None:
        """Do all nodes that are ready, or one of them, with all their attempts. None: there is nothing to do; the run
        has ended, or waits for `resume` or `fire`."""
        ready = self.ready
        if node is not None:
            ready = tuple(id for id in ready if node in (id, node_path(id)))
            if not ready:
                raise RunConflictError(f"node {node!r} is not ready; ready are: {', '.join(self.ready) or 'none'}")
        if not ready:
            return None
        before = self._clock.at
        outcomes = await asyncio.gather(*(self._outcome(CommandId(id)) for id in ready))
        self._act([entry for entries in outcomes for entry in entries], before)
        return self.state

    def prev(self) -> GraphState | None:
        """Take the last `next`, `resume` or `fire` back. None: there was none."""
        if not self._actions:
            return None
        self._clock.at = self._actions.pop().before
        self._replay()
        return self.state

    def reset(self) -> GraphState:
        """Begin again."""
        if self._actions:
            self._clock.at = self._actions[0].before
        self._actions.clear()
        self._replay()
        return self.state

    def resume(self, node: str, *, action: str | None = None, output: Any = None) -> GraphState:
        """Answer a node that waits. `RunConflictError` if it does not, `DefinitionError` for an unknown action."""
        visit = self._waiting_visit(node)
        check_action(visit, action)
        value = envelope(self.registry, node, action, output)
        self._act([self._received(HookCompleted(base=1, command=visit.id, value=value))], self._clock.at)
        return self.state

    def fire(self) -> GraphState | None:
        """Let time pass to the next timer: a sleep, or the timeout of a wait. None: there is no timer."""
        due = self._begun.next_due()
        if due is None:
            return None
        before, self._clock.at = self._clock.at, max(due, self._clock.at)
        n, when, name = self._begun.due_timers(due)[0]
        self._act([TimerFired(n=n, due=when, name=name)], before)
        return self.state

    # --- inside

    @property
    def _begun(self) -> GraphProgram:
        if self._program is None:
            raise StepwellError("this stepper has not begun; use it inside `async with Stepper(...) as run:`")
        return self._program

    def _replay(self) -> None:
        """The program as of all actions."""
        now = self._actions[0].before if self._actions else self._clock.at
        snapshot = self.registry.snapshot_of(self.flow)
        seed = "00" * 16
        created = Created(
            workflow=self.flow.id,
            version=self.flow.spec.version,
            input=self._input,
            seed=seed,
            blueprint=snapshot,
        )
        origin = Origin(
            run=_RUN,
            base=1,
            created=created,
            input=self._input,
            blueprint=snapshot,
            seed=seed,
            started_at=now,
            born_at=now,
            random_base=1,
        )
        self._steps, self._children, self._attempts = {}, {}, {}
        self._program = graph_program(self.registry, self.flow, origin)
        lines = [line for action in self._actions for line in action.lines]
        self._program.begin([*self._fed(lines)], at=now, is_repeat=True)
        self._collect()

    def _fed(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            if isinstance(line.entry, AttemptFailed):
                self._attempts[line.entry.id] = line.entry
            else:
                yield line

    def _act(self, entries: Iterable[Entry], before: int) -> None:
        """These happened, together."""
        seq, done = 2 + len(self._actions), list[Line]()
        for entry in entries:
            if self._is_wanted(entry):
                line = Line(seq, self._clock.at, entry)
                done.append(line)
                for fed in self._fed([line]):
                    self._begun.apply(fed.entry, fed.at)
                self._collect()
        self._actions.append(_Action(done, before))

    def _is_wanted(self, entry: Entry) -> bool:
        """Whether nobody has given up on it meanwhile, because another node failed."""
        if isinstance(entry, StepCompleted | StepFailed):
            return self._steps.pop(entry.id, None) is not None
        return not self.is_done

    def _collect(self) -> None:
        program = self._begun
        for command in program.take_commands():
            if isinstance(command, StepCommand):
                self._steps[command.id] = command
            elif isinstance(command, Abandon):
                self._steps.pop(command.id, None)
            elif isinstance(command, ActCommand) and isinstance(command.act, StartChild):
                self._children[command.id] = command.act
        if program.outcome is not None:
            self._steps.clear()
        self._children = {id: act for id, act in self._children.items() if id in program.machine.visits}

    def _ended(self) -> Ended | None:
        match self._begun.outcome:
            case Completed(value=value):
                return Ended(status="completed", value=value)
            case Failed(failure=failure):
                return Ended(status="failed", failure=failure)
            case _:
                return None

    # --- what nodes give

    async def _outcome(self, id: CommandId) -> list[Entry]:
        answer, command = self._answer(id), self._steps.get(id)
        if command is not None:
            return await self._attempted(command) if answer is UNSET else [self._instead(command, answer)]
        if (child := self._children.get(id)) is not None:
            if answer is UNSET:
                raise DefinitionError(
                    f"node {id!r} is a run of workflow {child.workflow}, which a stepper does not start; give it "
                    f"answers={{{id!r}: ...}}"
                )
            return [self._received(self._child_ended(id, child, answer))]
        result = answer if isinstance(answer, NodeResult) else NodeResult(output=answer)
        value = envelope(self.registry, id, result.action, result.output)
        return [self._received(HookCompleted(base=1, command=id, value=value))]

    async def _attempted(self, command: StepCommand) -> list[Entry]:
        assert self._runner is not None, "it has begun"
        entries: list[Entry] = []
        while True:
            owner = _Owner(self)
            step = RunningStep(self._runner, owner, command)
            try:
                entry = await owner.outcome
            finally:
                if not owner.outcome.done() or owner.outcome.cancelled():
                    step.stop()
            entries.append(entry)
            if not isinstance(entry, AttemptFailed):
                return entries
            command.attempt, command.progress = entry.attempt + 1, entry.progress
            self._clock.at = max(self._clock.at, entry.retry_at)

    def _instead(self, command: StepCommand, answer: Any) -> Entry:
        if isinstance(answer, BaseException):
            failure = failure_of(answer, raises=command.definition.options.raises, step=command.id)
            return StepFailed(id=command.id, failure=failure)
        result = answer if isinstance(answer, NodeResult) else NodeResult(output=answer)
        outcome = NodeOutcome(
            output=self._encoded(command.id, result.output),
            action=result.action,
            nodes=tuple(self._encoded(command.id, node) for node in result.dynamic_nodes),
        )
        return StepCompleted(id=command.id, value=Raw(msgspec.json.encode(outcome)))

    def _child_ended(self, id: CommandId, child: StartChild, answer: Any) -> ChildEnded:
        ended = ChildEnded(child=child.child, base=1, command=id, status="completed")
        if isinstance(answer, BaseException):
            return structs.replace(ended, status="failed", failure=failure_of(answer))
        return structs.replace(ended, value=self._encoded(id, answer))

    def _encoded(self, id: str, value: Any) -> Raw:
        if value is None:
            return NULL
        return self.registry.codec.typed(type(value)).encode(value, where=f"the answer of node {id!r}")

    def _answer(self, id: str) -> Any:
        return self._answers.get(id, self._answers.get(node_path(id), UNSET))

    def _received(self, message: Message) -> Received:
        number = 1 + sum(isinstance(line.entry, Received) for action in self._actions for line in action.lines)
        return Received(no=number, id=MessageId(f"stepper:{number}"), at=self._clock.at, message=message)

    def _waiting_visit(self, node: str) -> Visit:
        found = [visit for visit in waiting_visits(self._begun) if node in (visit.id, node_path(visit.id))]
        if len(found) != 1:
            what = "waits more than once" if found else "does not wait"
            raise RunConflictError(f"node {node!r} {what}; waiting are: {', '.join(self.waiting) or 'none'}")
        return found[0]


class _Action(NamedTuple):
    """What one call brought about, and the time before it."""

    lines: list[Line]
    before: int


class _Clock:
    """Time that is set, also back. Chance is none."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self.at

    def monotonic(self) -> float:
        """The same, in seconds."""
        return self.at / 1000

    def random_bytes(self, n: int) -> bytes:
        """Always the same."""
        return bytes(n)


class _Owner:
    """What a running step takes for its activation."""

    run = _RUN
    base = 1
    head = None

    def __init__(self, stepper: Stepper) -> None:
        self.outcome: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._stepper = stepper

    def arrive(self, entry: Entry, time: int, *, before: Iterable[Entry] = ()) -> None:  # noqa: ARG002 - time stands still
        """The attempt has ended, or tells how far it is."""
        if not isinstance(entry, StepProgressed) and not self.outcome.done():
            self.outcome.set_result(entry)

    def step_ended(self, step: RunningStep) -> None:
        """Its outcome follows."""

    def writer(self, stream: str) -> StreamWriter:
        """Streams are written, and nobody reads them."""
        backend = self._stepper._backend
        assert backend is not None, "it has begun"
        return StreamWriter(backend.streams, backend.queue, self.run, stream, Claim("stepper:0"))
