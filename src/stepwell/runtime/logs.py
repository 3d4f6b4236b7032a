"""Logs as JSON: one record a line, with the run, the step or the request that it is about.

What a step logs, through whichever logger, says which step of which run it is; so does what a workflow body logs. On
replay nothing is logged, in this form or another (see `observe`).
"""

from __future__ import annotations

import logging
import re
import sys
from asyncio.events import _get_running_loop
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from stepwell.authoring.running import step_here
from stepwell.engine.loop import WorkflowLoop

REQUEST_ID: ContextVar[str] = ContextVar("stepwell_request")
"""The request that a server answers in this context."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_OURS = ("run_id", "workflow", "namespace", "step", "attempt", "request_id")
_HIDDEN = re.compile(r"(?i)secret|password|passwd|token|authorization|api_?key|cookie|credential")
"""Names of fields whose values are not shown."""
_KEYS = re.compile(r"\b(sw_[A-Za-z0-9]+_|st_|[Bb]earer )[A-Za-z0-9_\-.=+/~]{8,}")
"""API keys, tokens, and what follows `Bearer` wherever it is."""
_FIELD_MAX = 8_192
_encode = msgspec.json.Encoder(enc_hook=str).encode


class RunFields(logging.Filter):
    """Writes what is known of the place into each record. A filter, so that it happens where something is logged, and
    not in the thread of a queue."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always; but the record knows more."""
        for name, value in _here().items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One line of JSON: `time`, `level`, `logger`, `message`, what is known of the run, the record's own `extra`, and
    `exception` as text. Keys and tokens are masked, and so are extra fields whose names say that they are secret."""

    def format(self, record: logging.LogRecord) -> str:
        """Never raises: a record that cannot be put together is shown as it is."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": "",
        }
        known = _here() | {name: value for name in _OURS if (value := getattr(record, name, None)) is not None}
        fields |= known
        # Bodies put the run in front of what they say, for logs that have no fields.
        fields["message"] = _masked(_message(record).removeprefix(f"[{known.get('run_id')}] "))
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in known and not name.startswith("_"):
                fields.setdefault(name, "***" if _HIDDEN.search(name) else _plain(value))
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _masked(self.formatException(record.exc_info))
        elif record.exc_text:
            fields["exception"] = _masked(record.exc_text)
        if record.stack_info:
            fields["stack"] = _masked(record.stack_info)
        return _encode(fields).decode()


def configure(*, level: int | str = "INFO", stream: TextIO | None = None, logger: str = "") -> logging.Handler:
    """Log to `stream` (standard error) as JSON, everything from `level` up, by the root logger or the one named. The
    handlers that are there give way, as with `logging.basicConfig(force=True)`. Answers the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFields())
    target = logging.getLogger(logger or None)
    for old in list(target.handlers):
        target.removeHandler(old)
        old.close()
    target.addHandler(handler)
    target.setLevel(level)
    return handler


def _here() -> dict[str, Any]:
    loop = _get_running_loop()
    if loop.__class__ is WorkflowLoop:
        origin = getattr(loop.program, "origin", None)
        return {} if origin is None else {"run_id": origin.run, "workflow": origin.created.workflow}
    step = step_here()
    if step is not None:
        fields = {"run_id": step.run_id, "workflow": step.workflow, "namespace": step.namespace}
        known: dict[str, Any] = {name: value for name, value in fields.items() if value}
        return known | {"step": step.id, "attempt": step.attempt}
    # What drives runs may go on in the context of a request that has nothing to do with them; so a request is only
    # believed where there is no run.
    request = REQUEST_ID.get("")
    return {"request_id": request} if request else {}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg} {record.args!r}"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _masked(value)
    try:
        data = _encode(value)
        if len(data) > _FIELD_MAX:
            return _masked(data[:_FIELD_MAX].decode(errors="replace")) + "..."
        return msgspec.json.decode(_masked(data.decode()))
    except Exception:
        return f"({type(value).__qualname__})"


def _masked(text: str) -> str:
    return _KEYS.sub(lambda found: found[1] + "***", text)
