"""What a run does to others: create children, deliver messages, hold names, read event logs. All idempotent.

The intention is in the journal before any of this is called, so repeating after a crash is always right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import Codec, failure_of
from stepwell.engine.driver import Driver
from stepwell.engine.fold import NotifyParent, Obligation, ReleaseName
from stepwell.engine.program import ActCommand
from stepwell.errors import CodecError, HookError, RunClosedError, RunConflictError, RunNotFoundError
from stepwell.formats.voyant.labels import LABELS, labels_of
from stepwell.model.entries import (
    Act,
    CancelChild,
    Created,
    Frame,
    FrameCodec,
    OpenHook,
    Parent,
    SendMetadata,
    SendSignal,
    StartChild,
    Subscribe,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId, event_message_id, lineage
from stepwell.model.messages import CancelRequested, Event, Message, MetadataSent, Signal
from stepwell.model.runs import Head
from stepwell.ports import MAX_SEQ, Backend, Clock, Delivered, Delivery, NewRun, Wanted
from stepwell.runtime.bells import ring
from stepwell.runtime.payloads import spilled_frame, spilled_message

_PAGE = 500
_PLAIN = Codec()


class LoggedEvent(Struct, frozen=True):
    """An event in the log of its name: the stream `event/<name>`."""

    id: str
    at: int
    value: Raw


def event_log(name: str) -> str:
    """The stream that holds all events of that name."""
    return f"event/{name}"


class Acts:
    """Performs acts through the ports of one backend."""

    def __init__(self, backend: Backend, clock: Clock | None = None, *, codec: Codec = _PLAIN) -> None:
        self._backend = backend
        self._clock = clock or backend.clock
        self._codec = codec

    async def perform(self, driver: Driver, command: ActCommand) -> Failure | None:
        """Do it. None: done. A failure: it cannot be done, which the program shall know."""
        act = command.act
        match act:
            case StartChild():
                return await self._start_child(driver, command, act)
            case CancelChild(child=child, reason=reason):
                await self._cancel_child(driver, command, child, reason)
                return None
            case SendSignal():
                return await self._send_signal(driver, command, act)
            case OpenHook(token=token):
                return await self._open_hook(driver, token)
            case Subscribe(event=event, since=since):
                await self._subscribe(driver, event, since)
                return None
            case SendMetadata(run=run):
                await self._send_metadata(driver, command.id, run)
                return None
            case _:
                assert_never(act)

    async def settle(self, driver: Driver, obligation: Obligation) -> None:
        """Do what an ended run owes."""
        match obligation:
            case ActCommand():
                await self.perform(driver, obligation)
            case NotifyParent(parent=parent, id=id, message=message):
                await self.deliver(parent, id, message)
            case ReleaseName(name=name):
                await self._backend.store.release(name, driver.run)
            case _:
                assert_never(obligation)

    async def deliver(self, run: RunId, id: MessageId, message: Message) -> Delivered:
        """Put a message into a run's inbox, and tell whoever holds the run."""
        body = await spilled_message(self._backend.blobs, run, message)
        (answer,) = await self._backend.store.deliver([Delivery(run=run, id=id, body=body)])
        await self.ring(answer)
        return answer

    async def ring(self, answer: Delivered) -> None:
        """Tell the owner that there is mail, or the workers that a run is due."""
        if answer.answer in ("ok", "duplicate"):
            topic = due_topic() if answer.owner is None else owner_topic(answer.owner)
            await ring(self._backend.queue, [topic])

    def _handed_down(self, created: Created) -> dict[str, Raw]:
        """What was said of a run when it was triggered is so of its children; as metadata, like its own."""
        payload = created.metadata.get(LABELS)
        if payload is None:
            return {}
        try:
            labels = labels_of(self._codec.opened(payload, where="what was said of the run"))
        except CodecError:
            return {}  # the key is not here, and what is said is for people
        own = msgspec.structs.replace(labels, key="", is_null=False)
        return {LABELS: self._codec.sealed(own.payload)}

    async def _start_child(self, driver: Driver, command: ActCommand, act: StartChild) -> Failure | None:
        now = self._clock.now()
        parent = Parent(
            run=driver.run,
            base=driver.origin.base,
            command=command.id,
            on_parent_end=act.on_parent_end,
            lineage=lineage(driver.origin.seed),
            root=root_of(driver.fold.created),
            branch=_branch_of(driver),
        )
        created = Created(
            workflow=act.workflow,
            version=act.version,
            input=act.input,
            blueprint=act.blueprint,
            seed=self._backend.clock.random_bytes(16).hex(),
            parent=parent,
            tags=act.tags,
            metadata=self._handed_down(driver.fold.created),
        )
        head = Head(
            id=act.child,
            workflow=act.workflow,
            version=act.version,
            created_at=now,
            tags=act.tags,
            metadata=created.metadata,
            parent=None if act.on_parent_end == "abandon" else driver.run,
        )
        frame = await spilled_frame(self._backend.blobs, act.child, Frame(now, driver.claim, (created,)))
        (present,) = await self._backend.store.create([NewRun(head=head, frames=(frame,), wake_in_ms=0)])
        if present is None:
            await ring(self._backend.queue, [due_topic()])
            return None
        return await self._existing_child(act, parent)

    async def _existing_child(self, act: StartChild, parent: Parent) -> Failure | None:
        """Created before by this same command, or an id that somebody else has."""
        if act.is_shared:
            return None
        (loaded,) = await self._backend.store.load([Wanted(act.child, -1, MAX_SEQ, until=1)])
        if loaded is not None and loaded.frames:
            entry = FrameCodec.decode(loaded.frames[0][1]).entries[0]
            if isinstance(entry, Created) and entry.parent is not None and _is_same(entry.parent, parent):
                return None
        return failure_of(
            RunConflictError(f"the id {act.child} of a child is taken by another run"), raises=(RunConflictError,)
        )

    async def _cancel_child(self, driver: Driver, command: ActCommand, child: RunId, reason: str) -> None:
        id = MessageId(f"cancel:{driver.run}.{driver.origin.base}.{command.id}")
        message = CancelRequested(reason=reason or "cancelled by its parent")
        start_id = CommandId(command.id.removesuffix("/cancel"))
        # As of now: while the cancel finds nothing, the creation may take effect, and be confirmed before the answer.
        start = driver.fold.open_acts.get(start_id)
        answer = await self.deliver(child, id, message)
        if answer.answer == "missing" and isinstance(start, StartChild):
            # Its creation was not confirmed, and may still come: create it now, so that the cancel has somewhere to go.
            await self._start_child(driver, ActCommand(start_id, start), start)
            await self.deliver(child, id, message)

    async def _send_signal(self, driver: Driver, command: ActCommand, act: SendSignal) -> Failure | None:
        id = _message_id("signal", driver, command.id)
        answer = await self.deliver(act.run, id, Signal(name=act.name, value=act.value))
        error: Exception
        if answer.answer == "closed":
            error = RunClosedError(f"run {act.run} has ended and takes no more signals")
        elif answer.answer == "missing":
            error = RunNotFoundError(f"there is no run {act.run}")
        else:
            return None
        return failure_of(error, raises=(type(error),))

    async def _send_metadata(self, driver: Driver, command: CommandId, run: RunId) -> None:
        """Those that were intended before go first, for each may have been put off: the last value set is to stay."""
        for id, act in list(driver.fold.open_acts.items()):
            if isinstance(act, SendMetadata) and act.run == run:
                message = MetadataSent(ops=act.ops, child=_child_of(run, driver))
                await self.deliver(run, _message_id("metadata", driver, id), message)
            if id == command:
                return

    async def _open_hook(self, driver: Driver, token: str) -> Failure | None:
        store = self._backend.store
        holder = await store.reserve(token, driver.run)
        if holder != driver.run and await self._is_gone(RunId(holder)):
            await store.release(token, holder)
            holder = await store.reserve(token, driver.run)
        if holder == driver.run:
            return None
        return failure_of(HookError(f"the hook token {token!r} is held by run {holder}"), raises=(HookError,))

    async def _is_gone(self, run: RunId) -> bool:
        (loaded,) = await self._backend.store.load([Wanted(run, MAX_SEQ)])
        return loaded is None or loaded.head.is_settled

    async def _subscribe(self, driver: Driver, event: str, since: int) -> None:
        """The head lists the subscription already (it went in with the intention), so every publisher from now on
        finds this run. What was published before is read from the log; ids make what comes twice count once."""
        start, limit = -_PAGE, _PAGE
        seen: list[tuple[int, LoggedEvent]] = []
        log = event_log(event)
        while True:
            page = await self._backend.streams.read(log, start, limit)
            first = page.next - len(page.items)
            events = [(first + i, decode_event(item)) for i, item in enumerate(page.items)]
            seen = events + seen
            if first <= 0 or (events and events[0][1].at < since):
                break
            start = max(0, first - _PAGE)
            limit = first - start
        for index, logged in seen:
            if logged.at >= since:
                message = Event(name=event, index=index, value=logged.value)
                await self.deliver(driver.run, event_message_id(event, index), message)


def _is_same(one: Parent, other: Parent) -> bool:
    """Runs of an earlier release do not know who is at the top."""
    return msgspec.structs.replace(one, root=other.root) == other


def root_of(created: Created) -> RunId:
    """The run at the top of those that started one another; "" if this is one."""
    parent = created.parent
    return RunId("") if parent is None else parent.root or parent.run


def _branch_of(driver: Driver) -> RunId:
    """Below which child of the run at the top this one's children are; "" if they are that themselves."""
    parent = driver.fold.created.parent
    return RunId("") if parent is None else parent.branch or driver.run


def _child_of(above: RunId, driver: Driver) -> RunId:
    """The child of a run above this one that this one is, or is below."""
    parent = driver.fold.created.parent
    return driver.run if parent is None or parent.run == above else parent.branch or driver.run


def _message_id(kind: str, driver: Driver, command: CommandId) -> MessageId:
    origin = driver.origin
    return MessageId(f"{kind}:{driver.run}.{origin.base}.{command}.{lineage(origin.seed)}")


decode_event = msgspec.json.Decoder(LoggedEvent).decode
encode_event = msgspec.json.Encoder().encode


def due_topic(queue: str = "default") -> str:
    """Rung when a run of that queue may be due."""
    return f"due:{queue}"


def owner_topic(claim: Claim) -> str:
    """Rung when a run held under that claim has mail."""
    return f"worker:{claim.partition(':')[0]}"


def subscription_tag(event: str) -> str:
    """The tag under which a run that waits for an event is found."""
    return f"event:{event}"


def subscriptions(acts: Iterable[Act]) -> dict[str, str]:
    """The tags that these acts add to the head."""
    return {subscription_tag(act.event): "1" for act in acts if isinstance(act, Subscribe)}
