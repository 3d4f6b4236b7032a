"""A body elsewhere: it carries out a plan from the top, each time anew, and takes from the journal what was decided.

It knows what a foreign worker knows, and shares nothing with the engine nor with our own workers: ids of steps and
waits are made of places in the plan. What it must not forget between two invocations, and no entry says, it keeps in
its own part of the journal: in which order it has counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import Codec
from stepwell.engine.remote.calls import Change, ChildRequest, RemoteCall, Resolution, WaitRequest
from stepwell.model.entries import StepCompleted
from stepwell.model.ids import RunId
from stepwell.model.tokens import hook_key
from stepwell.testing.simulator.ledger import marks_in
from stepwell.testing.simulator.plans import (
    AWAY,
    EVENT,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Limit,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Sleep,
    Try,
    Wait,
)
from stepwell.testing.simulator.processes import current_process

CODEC = Codec()
COUNTED = "counted"
RETRY_MS = 3_000
PATIENT = "b"
"""A step with this label waits between its attempts; others are tried again at once."""
_ATTEMPTS = 3

_json = msgspec.json.encode
_plan_of = msgspec.json.Decoder(Plan).decode


class Request(Struct, frozen=True, kw_only=True):
    """An invocation, as it goes over the wire. Of steps and of waits that are over, what is known, in JSON by id.

    `life` tells runs of one id and generations of one run apart; `key` is what tokens are made with. `changed`: how
    many changes of metadata have been applied, if that is said. `journal`: as it came over the wire.
    """

    run: RunId
    life: str
    base: int
    number: int
    attempt: int
    plan: Plan
    steps: dict[str, bytes]
    resolved: dict[str, bytes]
    counted: list[tuple[str, str, str]]
    changed: int
    undone: frozenset[str]
    cancel: str | None
    key: str
    journal: Raw = Raw(b"{}")

    @property
    def marks(self) -> list[str]:
        """All that is in it."""
        return [mark for told in (*self.steps.values(), *self.resolved.values()) for mark in marks_in(told.decode())]


def request_of(call: RemoteCall, attempt: int) -> Request:
    """What a worker gets to know of a call."""
    journal = call.journal
    origin = journal.origin
    steps: dict[str, bytes] = {}
    for id, (entry, at) in journal.steps.items():
        is_ok = isinstance(entry, StepCompleted)
        value = _opened(entry.value) if isinstance(entry, StepCompleted) else Raw(_json(entry.failure.message))
        steps[id] = _json({"ok": is_ok, "value": value, "attempt": entry.attempt, "at": at})
    resolved = {
        id: _json(_told(found)) if isinstance(found, Resolution) else bytes(found)
        for id, found in journal.resolved.items()
    }
    counted = msgspec.json.decode(bytes(journal.more.get(COUNTED, b"[]")), type=list[tuple[str, str, str]])
    return Request(
        run=origin.run,
        life=f"{origin.created.seed}.{origin.base}",
        base=origin.base,
        number=call.number,
        attempt=attempt,
        plan=_plan_of(bytes(_opened(origin.input))),
        steps=steps,
        resolved=resolved,
        counted=counted,
        changed=journal.changed,
        undone=frozenset(journal.undone),
        cancel=call.cancel,
        key=hook_key(origin.run, origin.base, origin.seed),
    )


def _opened(raw: Raw) -> Raw:
    return CODEC.opened(raw, where="a payload")


def _told(found: Resolution) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": found.kind, "at": found.at, "status": found.status}
    if isinstance(found.value, Raw):
        told["value"] = _opened(found.value)
    if found.failure is not None:
        told["failure"] = found.failure.message
    return told


class BlockedError(Exception):
    """The body cannot go on before one of these waits is over."""

    def __init__(self, waits: Sequence[WaitRequest]) -> None:
        super().__init__(waits)
        self.waits = tuple(waits)


class BrokenError(Exception):
    """The body has failed."""


class Done(NamedTuple):
    """How an attempt of a step ended."""

    is_ok: bool
    value: str


Act = Callable[[str, Do, int, bool], Coroutine[Any, Any, Done]]
"""Runs an attempt of the step with this id: what it does, which attempt, and whether there is none after it."""


class Body:
    """One invocation. `counted` is what it has counted so far, with all before it."""

    def __init__(self, request: Request, act: Act) -> None:
        self.counted = [*request.counted]
        self._request = request
        self._act = act

    @property
    def changes(self) -> list[Change]:
        """All changes of metadata so far, in their order."""
        return [
            Change(op="increment", key=key, target=to or "self")  # type: ignore[arg-type]
            for _, key, to in self.counted
        ]

    async def carry_out(self) -> Any:
        """The answer of the run. Raises `BlockedError` or `BrokenError`."""
        value = await self._follow(self._request.plan, "0")
        own = [key for _, key, to in self.counted if not to]
        above = sum(1 for _, _, to in self.counted if to)
        return [AWAY, value, {"own": {key: own.count(key) for key in sorted(set(own))}, "above": above}]

    async def clean_up(self) -> list[str]:
        """Undo what was booked and is not undone; answers the ids of those steps."""
        undone = []
        for id in [*self._request.steps]:
            if id.startswith("book-") and f"undo-{id}" not in self._request.steps and id not in self._request.undone:
                await self._step(f"undo-{id}", Do("undo"))
                undone.append(id)
        return undone

    async def _follow(self, plan: Plan, path: str) -> Any:
        method = getattr(self, f"_{type(plan).__name__.lower()}")
        return await method(plan, path)

    # --- leaves

    async def _do(self, plan: Do, path: str) -> Any:
        return ["do", (await self._step(f"{plan.label}@{path}", plan)).rstrip("x")]

    async def _step(self, id: str, plan: Do) -> str:
        told = self._request.steps.get(id)
        if told is None:
            return await self._run_step(id, plan)
        known = msgspec.json.decode(told)
        if not known["ok"]:
            raise BrokenError(known["value"])
        return str(known["value"])

    async def _run_step(self, id: str, plan: Do) -> str:
        attempt = 1
        while f"retry:{id}:{attempt}" in self._request.resolved:
            attempt += 1
        while True:
            done = await self._act(id, plan, attempt, attempt >= _ATTEMPTS)
            if done.is_ok:
                return done.value
            if attempt >= _ATTEMPTS:
                raise BrokenError(done.value)
            if plan.label == PATIENT:
                raise BlockedError([WaitRequest(id=f"retry:{id}:{attempt}", kind="DATETIME", delay_ms=RETRY_MS)])
            attempt += 1

    async def _sleep(self, plan: Sleep, path: str) -> Any:
        self._over(WaitRequest(id=f"sleep:{path}", kind="DATETIME", delay_ms=plan.ms))
        return ["slept"]

    async def _wait(self, plan: Wait, path: str) -> Any:
        return self._taken(plan.source, path, plan.ms)

    async def _collect(self, plan: Collect, path: str) -> Any:
        return ["collected", *(self._taken(plan.source, f"{path}:iter:{k}", None) for k in range(plan.count))]

    def _taken(self, source: str, path: str, ms: int | None) -> list[str]:
        if source == "hook":
            token = f"tok_{path}"
            wait = WaitRequest(id=f"token:{token}", kind="MANUAL", name=token, delay_ms=ms)
        elif source == EVENT:
            wait = WaitRequest(id=f"event:{source}:{path}", kind="EVENT", name=source, delay_ms=ms)
        else:
            wait = WaitRequest(id=f"signal:{source}:{path}", kind="SIGNAL", name=source, delay_ms=ms)
        told = self._over(wait)
        return ["got", source, str(told["value"]).rstrip("x")] if "value" in told else ["none", source]

    def _over(self, wait: WaitRequest) -> dict[str, Any]:
        told = self._request.resolved.get(wait.id)
        if told is None:
            raise BlockedError([wait])
        return msgspec.json.decode(told)  # type: ignore[no-any-return]

    async def _note(self, plan: Note, path: str) -> Any:
        places = [place for place, _, _ in self.counted]
        if path not in places:
            self.counted.append((path, plan.key, plan.to))
            places.append(path)
        return ["note", plan.key, places.index(path), True]

    async def _child(self, plan: Child, path: str) -> Any:
        value = self._invoked("play", plan.plan, path, is_detached=plan.how == "abandon")
        return ["started"] if plan.how == "abandon" else ["child", value]

    async def _away(self, plan: Away, path: str) -> Any:
        return ["away", self._invoked(AWAY, plan.plan, path)]

    def _invoked(self, workflow: str, plan: Plan, path: str, *, is_detached: bool = False) -> Any:
        key = f"k{path}" if not is_detached and len(path) % 4 == 1 else ""
        child = ChildRequest(workflow=workflow, input=Raw(_json(plan)), is_detached=is_detached, key=key)
        told = self._over(WaitRequest(id=f"invoke:{workflow}:{path}", kind="RUN", child=child))
        if told["status"] not in ("completed", "started"):
            raise BrokenError(f"the child {told['status']}: {told.get('failure')}")
        return told.get("value")

    # --- branches

    async def _seq(self, plan: Seq, path: str) -> Any:
        return ["seq", *[await self._follow(each, f"{path}.{n}") for n, each in enumerate(plan.plans)]]

    async def _together(self, plans: Sequence[Plan], path: str) -> list[Any]:
        """What each of them gives, or the error that it raises."""
        process = current_process()
        branches = [process.spawn(self._branch(each, f"{path}.{n}"), "a branch") for n, each in enumerate(plans)]
        return await asyncio.gather(*branches)

    async def _branch(self, plan: Plan, path: str) -> Any:
        try:
            return await self._follow(plan, path)
        except (BlockedError, BrokenError) as error:
            return error

    async def _gather(self, plan: Gather, path: str) -> Any:
        found = await self._together(plan.plans, path)
        waits = _waits_of(found)
        if waits:
            raise BlockedError(waits)
        for item in found:
            if isinstance(item, BrokenError):
                raise item
        return ["gather", *found]

    async def _race(self, plan: Race, path: str) -> Any:
        found = await self._together(plan.plans, path)
        won = [
            [n, "raised" if isinstance(item, BrokenError) else item]
            for n, item in enumerate(found)
            if not isinstance(item, BlockedError)
        ]
        if not won:
            raise BlockedError(_waits_of(found))
        return ["race", *won]

    async def _limit(self, plan: Limit, path: str) -> Any:
        limit = WaitRequest(id=f"limit:{path}", kind="DATETIME", delay_ms=plan.ms)
        try:
            return ["in time", await self._follow(plan.plan, f"{path}.0")]
        except BlockedError as error:
            if limit.id in self._request.resolved:
                return ["late"]
            raise BlockedError([*error.waits, limit]) from None

    async def _try(self, plan: Try, path: str) -> Any:
        try:
            return ["fine", await self._follow(plan.plan, f"{path}.0")]
        except BrokenError:
            return ["failed"]

    async def _saga(self, plan: Saga, path: str) -> Any:
        first = await self._step(f"book-x@{path}", Do("book-x"))
        try:
            value = await self._follow(plan.plan, f"{path}.0")
            second = await self._step(f"book-y@{path}", Do("book-y"))
        except BrokenError:
            await self._step(f"undo-book-x@{path}", Do("undo"))
            raise
        if plan.fails:
            await self._step(f"undo-book-y@{path}", Do("undo"))
            await self._step(f"undo-book-x@{path}", Do("undo"))
            return ["undone"]
        return ["saga", first, value, second]


def _waits_of(found: Sequence[Any]) -> list[WaitRequest]:
    return [wait for item in found if isinstance(item, BlockedError) for wait in item.waits]
