"""The dispatcher: asks the target that a run is for to go on with it, and takes in what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from msgspec import Struct

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import InvocationHost
from stepwell.authoring.running import current_step
from stepwell.engine.remote.calls import Answer, RemoteCall
from stepwell.errors import DefinitionError, SealedError, WorkerError
from stepwell.formats.voyant.faults import unworded, worded
from stepwell.formats.voyant.headers import LINES_TYPE, SPEAKS
from stepwell.formats.voyant.invocations import Outcome, WireFault, read_outcome, request_bytes
from stepwell.formats.voyant.lines import ChunkSent, LineReader, Over, Speaks, StepOver
from stepwell.model.durations import format_ms
from stepwell.model.values import Secret
from stepwell.ports import Clock
from stepwell.runtime.client import Client
from stepwell.runtime.remote.answers import Intake
from stepwell.runtime.remote.circuits import Circuit
from stepwell.runtime.remote.faults import is_json, is_up, message_of, non_json, refused
from stepwell.runtime.remote.labels import labels_of_run
from stepwell.runtime.remote.links import Link
from stepwell.runtime.remote.sending import Patience, Reply, Sent, TooLarge, Unreachable
from stepwell.runtime.remote.slices import Around, headers_of, signed, step_request
from stepwell.runtime.remote.targets import Target, Targets
from stepwell.runtime.remote.wire_journal import wire_journal

_log = logging.getLogger("stepwell.targets")
_SAVE_EVERY_S = 0.05
_DRAIN_S = 1.0
_REFUSAL_MAX = 65_536
_LARGE = 262_144
_LINES_MAX = 4
"""In an answer line by line much comes twice."""
INVALID = "invalid_response"
_SPREAD = 0.25
"""How much later than a circuit's pause its calls come, so that they do not come together."""


class Dispatcher:
    """Invokes the bodies of one namespace's runs. It is `Registry.dispatch`."""

    def __init__(self, targets: Targets, client: Client, registry: Registry, namespace: str) -> None:
        self.targets = targets
        self._registry = registry
        self._namespace = namespace
        self._clock: Clock = client.clock

    async def __call__(self, call: RemoteCall, host: InvocationHost) -> Answer:
        """One invocation."""
        created = call.journal.origin.created
        try:
            labels = labels_of_run(self._registry.codec, created)
        except SealedError as error:
            raise WorkerError(str(error)) from None
        await self.targets.sweep()
        target = self._target(created.workflow, created.version or labels.version)
        link = self.targets.link_to(target)
        if link.circuit.state(self._clock.now()) == "open":
            raise self._pausing(target, link)
        async with link.slot():
            if link.circuit.wait_ms(self._clock.now()) > 0:
                raise self._pausing(target, link)
            around = Around(
                namespace=self._namespace,
                public_url=self._registry.public_url,
                labels=labels,
                attempt=current_step().attempt,
                deadline=_deadline(self._clock.now() + target.total_ms, created.deadline),
            )
            return await self._ask(_Invocation(call, host, target, link, around))

    def _target(self, workflow: str, version: str) -> Target:
        target = self.targets.find(workflow, version, self._namespace)
        if target is not None:
            return target
        of = f"workflow {workflow}" + (f", version {version}" if version else "")
        place = f" in namespace {self._namespace}" if self._namespace else ""
        known = "; ".join(map(repr, self.targets)) or "none"
        raise WorkerError(
            f"no target is for {of}{place}: add one, as [[targets]] in stepwell.toml or in Stepwell(targets=[...]); "
            f"there are: {known:.500}"
        )

    async def _ask(self, asked: _Invocation) -> Answer:
        """Ask, and tell the circuit how that went. `WorkerError`."""
        circuit, label = asked.link.circuit, asked.target.label
        verdict: bool | None = None
        began = self._clock.now()
        try:
            answer = await self._exchange(asked)
            verdict = True
            return answer
        except _FAULTS as fault:
            error, verdict = self._judged(fault, asked)
            if verdict is False:
                if circuit.failed(str(error), self._clock.now(), self._fraction(), began=began):
                    _log.warning("target %s is down and left alone for a while: %s", label, unworded(str(error)))
                if circuit.retry_at is not None and error.retry_after is None:
                    error.retry_after = self._pause_s(circuit)
            raise error from None
        finally:
            if verdict is None:
                circuit.given_up()
            elif verdict:
                if circuit.retry_at is not None:
                    _log.info("target %s answers again", label)
                circuit.succeeded(self._clock.now())

    async def _exchange(self, asked: _Invocation) -> Answer:
        """One request, and its answer. Leaving early closes the connection."""
        codec, target, sender = self._registry.codec, asked.target, asked.link.sender
        journal = wire_journal(asked.call.journal, lambda raw: codec.opened(raw, where="the journal of a remote run"))
        intake = Intake(asked.call, journal, asked.host, self._registry)
        body = request_bytes(step_request(asked.call, journal, codec, asked.around))
        call = signed(Sent(body, headers_of(asked.call, asked.around), sender.path), _secret(target), self._clock)
        patience = Patience(total=target.total_ms / 1000, idle=target.idle_ms / 1000)
        async with patience.for_all(), sender.send(call) as reply:
            if reply.status != 200:
                raise _NoResult(reply, await _refusal(patience, reply))
            if reply.content_type == LINES_TYPE:
                return await _lines(patience, reply, asked, intake)
            limit = target.max_answer
            data = b"".join([piece async for piece in patience.pieces(reply, limit)])
            return intake.answer(await _outcome(data), _abilities(reply))

    def _judged(self, fault: Exception, asked: _Invocation) -> tuple[WorkerError, bool | None]:
        """The error that the run sees, and what that says of the target: True, it is there; False, it is not; None,
        nothing."""
        label, now = asked.target.label, self._clock.now()
        match fault:
            case _NoResult(reply=reply, body=body):
                message = message_of(reply, body, asked.link.sender.no_envelope)
                error = refused(label, reply, message, attempt=asked.around.attempt, now_ms=now)
                return error, is_up(reply, body)
            case _NotJson():
                return WorkerError(worded(non_json(200), label)), True
            case WireFault() | TooLarge():
                return WorkerError(worded(f"tenant returned an invalid response: {fault}", label), code=INVALID), True
            case TimeoutError():
                limit = format_ms(asked.target.total_ms)
                return WorkerError(worded(f"tenant did not answer within {limit}", label)), False
            case SealedError():
                return WorkerError(worded(str(fault), label)), None
            case _:
                return WorkerError(worded(str(fault), label)), False

    def _pausing(self, target: Target, link: Link) -> WorkerError:
        """Of a target that was left alone: what it is left alone for, since that is what a run ends with that it does
        not come back for. How long a trial takes that is under way nobody knows: then the run's own policy says when to
        come again, later each time, or the run would soon have no attempt left."""
        circuit = link.circuit
        is_open = circuit.state(self._clock.now()) == "open"
        error = WorkerError(circuit.last_error, retry_after=self._pause_s(circuit) if is_open else None)
        error.add_note(f"target {target.label} was not asked now, after {circuit.failures} failures in a row")
        return error

    def _pause_s(self, circuit: Circuit) -> float:
        """When to come again: a little after the next call may go there, and not all together."""
        now = self._clock.now()
        pause = max(1000, (circuit.retry_at or now) - now)
        return pause * (1 + _SPREAD * self._fraction()) / 1000

    def _fraction(self) -> float:
        return int.from_bytes(self._clock.random_bytes(4)) / 2**32


class _Invocation(Struct, frozen=True):
    """What one call is about."""

    call: RemoteCall
    host: InvocationHost
    target: Target
    link: Link
    around: Around


class _NoResult(Exception):
    """The answer has another status than 200."""

    def __init__(self, reply: Reply, body: bytes) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.reply = reply
        self.body = body


class _NotJson(Exception):
    """The answer is none."""


_FAULTS = (_NoResult, _NotJson, WireFault, TooLarge, Unreachable, TimeoutError, SealedError)


async def _refusal(patience: Patience, reply: Reply) -> bytes:
    """The body of an answer that is no result, unless it is very long."""
    try:
        return b"".join([piece async for piece in patience.pieces(reply, _REFUSAL_MAX)])
    except TooLarge:
        return b"{}"


async def _outcome(data: bytes) -> Outcome:
    """The outcome in a body. Large ones are read in a thread, so that the loop goes on."""
    try:
        return read_outcome(data) if len(data) < _LARGE else await asyncio.to_thread(read_outcome, data)
    except WireFault as fault:
        if not is_json(data):
            raise _NotJson(str(fault)) from None
        raise


async def _lines(patience: Patience, reply: Reply, asked: _Invocation, intake: Intake) -> Answer:
    """An answer line by line: steps are journaled while it goes on."""
    limit = asked.target.max_answer
    reader, speaks = LineReader(limit), _abilities(reply)
    with _saving(asked.host) as save:
        async with contextlib.aclosing(patience.pieces(reply, _LINES_MAX * limit)) as pieces:
            async for piece in pieces:
                for line in reader.feed(piece):
                    match line:
                        case Speaks(abilities):
                            speaks = {*speaks, *abilities}
                        case StepOver(id, entry):
                            if intake.step(id, entry):
                                save()
                        case ChunkSent(chunk):
                            intake.chunk(chunk)
                        case Over(outcome):
                            answer = intake.answer(outcome, speaks)
                            await _drained(pieces)
                            return answer
                        case _:
                            pass
        reader.close()
    raise AssertionError("a reader that has seen no outcome does not close")


async def _drained(pieces: AsyncIterator[bytes]) -> None:
    """Let the answer end, so that its connection can be used again; but what counts has come."""
    with contextlib.suppress(TimeoutError, Unreachable, TooLarge):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in pieces:
                pass


@contextlib.contextmanager
def _saving(host: InvocationHost) -> Iterator[Callable[[], None]]:
    """What to call when something was noted: soon after, it is in the journal."""
    timer: asyncio.TimerHandle | None = None
    loop = asyncio.get_running_loop()

    def saved() -> None:
        nonlocal timer
        timer = None
        host.save_notes()

    def save() -> None:
        nonlocal timer
        if timer is None:
            timer = loop.call_later(_SAVE_EVERY_S, saved)

    try:
        yield save
    finally:
        if timer is not None:
            timer.cancel()


def _abilities(reply: Reply) -> set[str]:
    names = (name.strip() for name in reply.headers.get(SPEAKS, "").split(","))
    return {name for name in names if name}


def _secret(target: Target) -> str | None:
    """`WorkerError` if there is no such secret: whoever runs this can mend that."""
    try:
        return target.secret.reveal() if isinstance(target.secret, Secret) else target.secret
    except DefinitionError as error:
        raise WorkerError(worded(str(error), target.label)) from None


def _deadline(total: int, run: int | None) -> int:
    return total if run is None else min(total, run)
