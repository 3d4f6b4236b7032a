"""Failures as the wire has them, and back: a category, a code, a message, and in `data` what only we can read."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from stepwell.codec import Codec
from stepwell.engine.worker.verdicts import Place
from stepwell.formats.voyant.faults import code_of
from stepwell.formats.voyant.invocations import WireError, WireStep, read_error, step_raw
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure

_UNKNOWN = "UNKNOWN"


class OurData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `data` holds of a failure of ours: the names of its classes, and the arguments of one that crosses as itself
    (`raises=`). `code`: the exception had that code itself."""

    types: tuple[str, ...]
    args: Any = None
    code: str = ""


def serialized(failure: Failure, codec: Codec) -> Raw:
    """The JSON of a failure. `SealedError` if its text is encrypted, and the key is not here."""
    failure = failure.opened()
    args = None if failure.args == NULL else codec.opened(failure.args, where="the arguments of an error")
    error: dict[str, Any] = {
        "category": "USER_ERROR",
        "code": code_of(failure),
        "message": failure.message,
        "name": failure.type,
    }
    if failure.traceback:
        error["stack"] = failure.traceback
    error["data"] = OurData(types=failure.types, args=args, code=failure.code)
    return Raw(msgspec.json.encode(error))


def restored(error: Raw, *, step: str | None = None, attempts: int = 0) -> Failure:
    """The failure in an error of the wire, of ours or of another worker. `WireFault` if it is none."""
    read = read_error(error)
    ours = _ours(read)
    if ours is None:
        ours = OurData(types=(read.name or "Error",), code="" if read.code == _UNKNOWN else read.code)
    return Failure(
        types=ours.types,
        message=read.message,
        traceback=read.stack,
        args=NULL if ours.args is None else Raw(msgspec.json.encode(ours.args)),
        code=ours.code,
        step=step,
        attempts=attempts,
    )


def step_entry(
    entry: StepCompleted | StepFailed, place: Place, *, started_at: int, codec: Codec, runtime: str = "node"
) -> Raw:
    """A step as the journal has it. Beyond what every worker writes it says where the step stands in the order of
    things."""
    rest = {"after": Raw(b"%d" % place.after)}
    if place.patches:
        rest["patches"] = Raw(msgspec.json.encode(place.patches))
    step = WireStep(
        attempt=entry.attempt,
        status="err" if isinstance(entry, StepFailed) else "ok",
        output=UNSET
        if isinstance(entry, StepFailed)
        else codec.opened(entry.value, where=f"the result of step {entry.id}"),
        error=serialized(entry.failure, codec) if isinstance(entry, StepFailed) else NULL,
        started_at=min(started_at, place.finished_at),
        finished_at=place.finished_at,
        runtime=runtime,
        rest=rest,
    )
    return step_raw(step)


def _ours(error: WireError) -> OurData | None:
    try:
        return msgspec.convert(error.data, OurData) if error.data else None
    except msgspec.ValidationError:
        return None
