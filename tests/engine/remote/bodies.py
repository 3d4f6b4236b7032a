"""A remote program without a world: a worker elsewhere is what a test says that it answers."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stepwell.codec import Codec, failure_of
from stepwell.engine.program import ActCommand, Command, Line, Origin, StepCommand
from stepwell.engine.remote.calls import Answer, RemoteCall, WaitRequest
from stepwell.engine.remote.program import RemoteProgram
from stepwell.errors import CodecError
from stepwell.model.entries import Created, Entry, Received, StepCompleted, TimerFired
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import Message
from stepwell.model.policies import StepOptions

START = 1_000_000


class Invoke:
    """The step of an invocation."""

    options = StepOptions(name="@invocation")

    def decode_result(self, raw: Raw) -> Answer:
        try:
            return msgspec.json.decode(raw, type=Answer)
        except msgspec.ValidationError as error:
            raise CodecError(str(error)) from None

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        return args, kwargs, 0


class Cleanup(Invoke):
    """The step of an invocation that only cleans up."""


class Host:
    """An app without types and without a cipher."""

    def plain(self, raw: Raw) -> Raw:
        return raw

    def sealed(self, raw: Raw) -> Raw:
        return raw

    def input_of(self, workflow: str, version: str, raw: Raw | UnsetType) -> Raw:
        if workflow == "picky":
            raise CodecError(f"the input of {workflow}{version} does not fit")
        return NULL if raw is UNSET else raw

    def result(self, value: Raw) -> Raw:
        if bytes(value) == b'"misfit"':
            raise CodecError("the result does not fit")
        return value

    def failure_of(self, error: BaseException) -> Failure:
        return failure_of(error, codec=Codec())


def json(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def sleep(id: str, ms: int) -> WaitRequest:
    return WaitRequest(id=id, kind="DATETIME", delay_ms=ms)


def signal(id: str, name: str, timeout: int | None = None) -> WaitRequest:
    return WaitRequest(id=id, kind="SIGNAL", name=name, delay_ms=timeout)


def waiting(*waits: WaitRequest, **more: Any) -> Answer:
    return Answer(status="waiting", waits=waits, **more)


class Body:
    """One run: what happens to it, and what its program asks for. `history` is what the journal would hold."""

    def __init__(self, **created: Any) -> None:
        self.created = Created(workflow="pay", seed="00" * 16, **created)
        self.at = START
        self.mail = 0
        self.history: list[Line] = []
        self.program = self._program()
        self.program.begin([], at=START, is_repeat=False)
        self.asked: list[Command] = self.program.take_commands()

    def _program(self) -> RemoteProgram:
        created = self.created
        origin = Origin(
            run=RunId("r"),
            base=1,
            created=created,
            input=created.input,
            seed=created.seed,
            started_at=START,
            born_at=START,
            random_base=1,
        )
        return RemoteProgram(Invoke(), origin, Host(), cleanup=Cleanup())

    @property
    def call(self) -> RemoteCall | None:
        """The invocation that is under way."""
        steps = [item for item in self.asked if isinstance(item, StepCommand)]
        return steps[-1].args[0] if steps else None

    @property
    def acts(self) -> list[ActCommand]:
        return [item for item in self.asked if isinstance(item, ActCommand)]

    def apply(self, entry: Entry) -> None:
        """Something happens."""
        self.history.append(Line(len(self.history) + 2, self.at, entry))
        self.program.apply(entry, self.at)
        self.asked += self.program.take_commands()

    def answer(self, answer: Answer, *steps: StepCompleted) -> None:
        """The worker answers, and says which steps it ran."""
        call = self.call
        assert call is not None
        self.asked = [item for item in self.asked if not isinstance(item, StepCommand)]
        for step in steps:
            self.apply(step)
        self.apply(StepCompleted(id=call.id, value=json(answer)))

    def step(self, id: str, value: Any = None) -> StepCompleted:
        """A step as the worker reports it."""
        assert self.call is not None
        record = json({"startedAt": self.at, "finishedAt": self.at, "runtime": "edge"})
        return StepCompleted(id=CommandId(id), value=json(value), via=self.call.id, record=record)

    def receive(self, message: Message, *, at: int | None = None) -> None:
        """A message comes, which the store accepted at `at`."""
        self.mail += 1
        accepted = self.at if at is None else at
        self.apply(Received(no=self.mail, id=MessageId(f"m{self.mail}"), at=accepted, message=message))

    def tick(self, ms: int) -> None:
        """Time goes by, and the timers that are due fire."""
        self.at += ms
        while due := self.program.due_timers(self.at):
            n, when, name = due[0]
            self.apply(TimerFired(n=n, due=when, name=name))

    def replayed(self) -> RemoteProgram:
        """Another program, fed the same history."""
        program = self._program()
        program.begin(self.history, at=START, is_repeat=True)
        return program
