"""Workers of that system, in short: bodies that run from the top, and answer from the journal what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.authoring.remotes import InvocationHost, RemoteWorkflow
from stepwell.engine.remote.calls import Answer, Change, ChildRequest, RemoteCall, WaitRequest
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId
from stepwell.runtime.app import Stepwell
from stepwell.runtime.remote.wire_journal import wire_journal

TIMES = {"startedAt": 1_770_000_000_010, "finishedAt": 1_770_000_000_055, "runtime": "edge"}


def json(value: Any) -> Raw:
    """The JSON of a value."""
    return Raw(msgspec.json.encode(value))


class Blocked(BaseException):
    """The body waits for what is not there yet."""


class Cancel(Exception):
    """The body asks for its own end."""


class Their(Exception):
    """An error of a body or a step, with a code."""

    def __init__(self, message: str, code: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.code = code

    @property
    def wire(self) -> dict[str, Any]:
        """As the worker writes it."""
        return {
            "category": "USER_ERROR",
            "code": self.code,
            "message": str(self),
            "name": "CardError",
            "stack": "CardError: at x",
            "cause": {"category": "USER_ERROR", "code": "UNKNOWN", "message": "socket hang up"},
            "data": {"retryAfter": 5},
        }

    @property
    def failure(self) -> Failure:
        """As the dispatcher makes it."""
        return Failure(types=("CardError",), message=str(self), traceback="CardError: at x", code=self.code)


class Turn:
    """What a body has: one invocation."""

    def __init__(self, worker: Theirs, call: RemoteCall, host: InvocationHost, sent: dict[str, Any]) -> None:
        self.call = call
        self.journal = sent
        self.waits: list[WaitRequest] = []
        self.changes: list[Change] = []
        self.undoing: list[str] = []
        self.streams: dict[str, Raw] = {}
        self._worker = worker
        self._host = host
        self._steps = 0
        self._n = 0

    # --- steps

    def step(self, id: str, value: Any = None, *, error: Their | None = None, **more: Any) -> Any:
        """A step: run once, known ever after."""
        known = self.journal["stepResults"].get(id)
        if known is None:
            self._worker.effects.append(id)
            self._steps += 1
            own = {"via": self.call.id, "ms": 3, "attempt": more.pop("attempt", 1), "id": CommandId(id)}
            codec = self._worker.app.registry.codec
            if error is not None:
                record = self._sealed({**TIMES, "error": error.wire, **more})
                self._host.note(StepFailed(failure=error.failure, record=record, **own))
                raise error
            record = self._sealed({**TIMES, **more})
            value = NULL if value is None else self._sealed(value)
            self._host.note(StepCompleted(value=value, record=record, **own))
            return msgspec.json.decode(codec.opened(value, where="x"))
        if known["status"] == "err":
            raise Their(known["error"]["message"], known["error"]["code"])
        return known.get("output")

    def _sealed(self, value: Any) -> Raw:
        return self._worker.app.registry.codec.sealed(msgspec.json.encode(value))

    def undo(self, id: str) -> None:
        """What this step did is to be undone if the body fails."""
        self.undoing.append(id)

    def chunks(self, stream: str, *chunks: Any, encoding: str = "json", times: int = 1_770_000_000_100) -> None:
        """A stream, as a whole, unless it is complete."""
        if stream in self.journal["streamsCompleted"]:
            return
        record: dict[str, Any] = {"at": times} if encoding == "json" else {"encoding": encoding, "at": times}
        for k, chunk in enumerate(chunks):
            value, number = self._sealed(chunk), self.call.number
            self._host.write(stream, source=f"@stream:{stream}", attempt=number, k=k, value=value, record=json(record))
        self.streams[stream] = json({"chunkCount": len(chunks) + 1})

    # --- waits

    def waited(self, *waits: WaitRequest) -> list[Any]:
        """All of these, at once. A wait that got nothing in time is None."""
        resolved = self.journal["waitpointsResolved"]
        self.waits += [wait for wait in waits if wait.id not in resolved]
        if self.waits:
            raise Blocked
        found = [resolved[wait.id] for wait in waits]
        for item in found:
            if "error" in item:
                raise Their(item["error"]["message"], item["error"]["code"])
        return [item.get("payload") for item in found]

    def sleep(self, ms: int) -> WaitRequest:
        """A sleep."""
        return self._wait(f"sleep:{self._count()}", "DATETIME", {"durationMs": ms}, delay_ms=ms)

    def signal(self, name: str, timeout: int | None = None) -> WaitRequest:
        """A signal."""
        meta = {"signalName": name}
        return self._wait(f"signal:{name}:{self._count()}", "SIGNAL", meta, name=name, delay_ms=timeout)

    def event(self, name: str, timeout: int | None = None) -> WaitRequest:
        """An event."""
        meta = {"eventType": name}
        return self._wait(f"event:{name}:{self._count()}", "EVENT", meta, name=name, delay_ms=timeout)

    def token(self, id: str, timeout: int | None = None) -> WaitRequest:
        """A value for a token."""
        return self._wait(f"token:{id}", "MANUAL", {"tokenId": id}, name=id, delay_ms=timeout)

    def invoke(self, workflow: str, input: Any = UNSET, *, is_detached: bool = False) -> WaitRequest:
        """A child."""
        given = {} if input is UNSET else {"childInput": input}
        meta = {"childWorkflowId": workflow, **given, "detach": is_detached, "tags": ["by:parent"]}
        child = ChildRequest(
            workflow=workflow,
            input=UNSET if input is UNSET else json(input),
            is_detached=is_detached,
            tags={"by": "parent"},
        )
        return self._wait(f"invoke:{workflow}:{self._count()}", "RUN", meta, child=child)

    def _wait(self, id: str, kind: Any, meta: dict[str, Any], **more: Any) -> WaitRequest:
        return WaitRequest(id=id, kind=kind, meta=json(meta), **more)

    def _count(self) -> int:
        self._n += 1
        return self._n

    # --- metadata

    def change(self, op: Any, key: str, value: Any = UNSET) -> None:
        """A change of metadata."""
        self.changes.append(Change(op=op, key=key, value=UNSET if value is UNSET else json(value)))

    # --- the end

    def answer(self, status: Any, **more: Any) -> Answer:
        """What the invocation brought."""
        return Answer(
            status=status,
            changes=tuple(self.changes[self.call.journal.changed :]),
            changed=len(self.changes),
            streams=self.streams,
            steps=self._steps,
            **more,
        )


Body = Callable[[Turn], Coroutine[Any, Any, Any]]


class Theirs:
    """A worker: bodies by workflow. `faults` are raised by the next invocations; `takes_ms` is how long each lasts."""

    def __init__(self, **bodies: Body) -> None:
        self.bodies = bodies
        self.effects: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Exception] = []
        self.takes_ms = 0
        self.speaks: tuple[str, ...] = ()
        self.app: Stepwell

    @property
    def workflows(self) -> list[RemoteWorkflow[Any, Any]]:
        """The workflows, as the app knows them."""
        return [RemoteWorkflow(id) for id in self.bodies]

    def serve(self, app: Stepwell) -> None:
        """Answer what the app asks."""
        self.app = app
        app.registry.dispatch = self.dispatch

    async def dispatch(self, call: RemoteCall, host: InvocationHost) -> Answer:
        """One invocation."""
        codec = self.app.registry.codec
        sent = msgspec.json.decode(json(wire_members(call, lambda raw: codec.opened(raw, where="x"))))
        self.requests.append({"number": call.number, "cancel": call.cancel, "journal": sent})
        if self.takes_ms:
            await asyncio.sleep(self.takes_ms / 1000)
        if self.faults:
            raise self.faults.pop(0)
        turn = Turn(self, call, host, sent)
        try:
            output = await self.bodies[host.workflow](turn)
        except Blocked:
            return turn.answer("waiting", waits=tuple(turn.waits), speaks=self.speaks)
        except Cancel:
            return turn.answer("cancelled")
        except Their as error:
            return self._failed(turn, error)
        return turn.answer("completed", output=UNSET if output is None else json(output))

    def _failed(self, turn: Turn, error: Their) -> Answer:
        own: dict[str, Any] = {"error": json(error.wire), "failure": error.failure}
        if not turn.undoing:
            return turn.answer("failed", **own)
        reports = []
        for id in reversed(turn.undoing):
            self.effects.append(f"undo {id}")
            reports.append({"stepId": id, "status": "err" if id == "lost" else "ok", "durationMs": 2})
        status = "compensation_failed" if "lost" in turn.undoing else "compensated"
        return turn.answer(status, **own, reports=json(reports))


def wire_members(call: RemoteCall, opened: Callable[[Raw], Raw]) -> dict[str, Any]:
    """The journal of a call, as it goes over the wire."""
    found = wire_journal(call.journal, opened)
    return {
        "stepResults": found.step_results,
        "waitpointsResolved": found.waitpoints_resolved,
        "compensationsRun": found.compensations_run,
        "metadataState": found.metadata_state,
        "streamsCompleted": found.streams_completed,
        **found.more,
    }
