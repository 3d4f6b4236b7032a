"""What a run does, line by line, for somebody who watches: steps, attempts, and what it waits for and how to answer."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterable
from datetime import datetime

from stepwell.cli.console import Paint, clip, short_ms
from stepwell.model.entries import (
    AttemptFailed,
    ContinuedAsNew,
    Created,
    Entry,
    Intended,
    OpenHook,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
    StepProgressed,
    TimerFired,
)
from stepwell.model.ids import CommandId, RunId, is_invocation
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    Event,
    HookCompleted,
    Message,
    PauseRequested,
    ResumeRequested,
    Signal,
)
from stepwell.model.runs import Head, Wait
from stepwell.model.tokens import make_token
from stepwell.runtime.app import Stepwell

_LOOK_EVERY = 0.3


class Progress:
    """Tells of one run. `say` gets each line; `since` is the seq up to which everything is old."""

    def __init__(self, run: RunId, say: Callable[[str], None], *, paint: Paint, columns: int, since: int = 0) -> None:
        self._run = run
        self._say = say
        self._paint = paint
        self._columns = columns
        self._since = since
        self._began = 0
        self._old_steps = 0
        self._tokens: dict[CommandId, str] = {}
        self._seed = ""
        self._told: frozenset[tuple[str, str]] = frozenset()

    async def follow(self, app: Stepwell) -> None:
        """Tell of everything until the run ends."""
        watcher = asyncio.create_task(self._watch(app))
        try:
            async for event in app.runs.events(self._run, follow=True):
                self.entry(event.seq, event.at, event.entry)
        finally:
            watcher.cancel()
            await asyncio.wait([watcher])

    async def _watch(self, app: Stepwell) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.waiting(await app.runs.get(self._run))

    def entry(self, seq: int, at: int, entry: Entry) -> None:
        """Something was journaled."""
        if isinstance(entry, Created):
            self._began, self._seed = at, entry.seed
        if isinstance(entry, Intended) and isinstance(entry.act, OpenHook):
            self._tokens[entry.id] = entry.act.token
        if seq <= self._since:
            self._old_steps += isinstance(entry, StepCompleted)
            return
        if self._old_steps:
            self._say(self._paint(f"  goes on after {self._old_steps} completed steps", "dim"))
            self._old_steps = 0
        line = self._line(entry, at)
        if line is not None:
            self._say(f"{self._paint(short_ms(at - self._began).rjust(7), 'dim')} {line}")

    def _line(self, entry: Entry, at: int) -> str | None:
        room = self._columns - 24
        match entry:
            case StepCompleted(id=id, attempt=attempt, ms=ms):
                more = f", attempt {attempt}" if attempt > 1 else ""
                return f"{self._paint('✓', 'green')} {id} {self._paint(f'{short_ms(ms)}{more}', 'dim')}"
            case StepFailed(id=id, failure=failure, attempt=attempt):
                return self._paint(clip(f"✗ {id} failed, attempt {attempt}: {failure}", room), "red")
            case AttemptFailed(id=id, failure=failure, attempt=attempt, retry_at=retry_at):
                text = f"↻ {id}, attempt {attempt}: {failure}"
                return self._paint(f"{clip(text, room)}; again in {short_ms(retry_at - at)}", "yellow")
            case StepProgressed(id=id, progress=progress):
                return clip(f"· {id}: {bytes(progress).decode()}", room)
            case TimerFired(name=name):
                return f"⏲ {name} is over"
            case Intended(act=StartChild(child=child, workflow=workflow)):
                return f"⑂ started {workflow}, run {child}"
            case Received(message=message):
                return _message_line(message)
            case ContinuedAsNew(retries=retries):
                return f"↻ starts over, retry {retries}" if retries else "↻ continues as new"
            case _:
                return None

    def waiting(self, head: Head) -> None:
        """The run may have come to rest; each wait is told once."""
        if head.owner is not None or head.status not in ("waiting", "paused"):
            return
        waits = frozenset((wait.kind, wait.name) for wait in head.waiting)
        if head.status == "paused" and not self._told:
            self._say(f"⏸ paused; go on with: stepwell runs resume {head.id}")
        for wait in head.waiting:
            if (wait.kind, wait.name) not in self._told:
                self._say(f"{self._paint('…', 'blue')} {wait_text(head, wait, token=self._token(head, wait))}")
        self._told = waits or self._told

    def _token(self, head: Head, wait: Wait) -> str:
        id = CommandId(wait.name)
        if wait.kind != "token" or not self._seed:
            return ""
        return self._tokens.get(id) or make_token(head.id, head.base, id, self._seed)


def _message_line(message: Message) -> str | None:
    match message:
        case Signal(name=name):
            return f"✉ got signal {name}"
        case Event(name=name):
            return f"✉ got event {name}"
        case HookCompleted(command=command):
            return f"✉ {command} was completed"
        case ChildEnded(child=child, status=status):
            return f"⑂ run {child} {status}"
        case CancelRequested(reason=reason):
            return f"■ cancel{f': {reason}' if reason else ''}"
        case PauseRequested():
            return "⏸ paused"
        case ResumeRequested():
            return "▶ resumed"
        case _:
            return None


def wait_text(head: Head, wait: Wait, *, token: str = "") -> str:
    """What a run waits for, and how to answer it."""
    match wait.kind:
        case "signal":
            return f"waits for signal {wait.name}: stepwell send {head.id} {wait.name} JSON"
        case "event":
            where = f" where {wait.detail}" if wait.detail else ""
            return f"waits for event {wait.name}{where}: stepwell publish {wait.name} JSON"
        case "token" if wait.detail == wait.name:
            return f"node {wait.name} waits: stepwell runs resume {head.id} --node {shlex.quote(wait.name)}"
        case "token" if wait.detail:
            return f"node {wait.detail} waits for a call of {wait.name}: stepwell complete {token or 'TOKEN'} JSON"
        case "token":
            return f"waits for {wait.name}: stepwell complete {token or 'TOKEN'} JSON"
        case "child":
            return f"waits for run {wait.detail}: stepwell runs show {wait.detail}"
        case "start":
            return f"starts at {_moment(wait.until)}"
        case "retry":
            return "asks its worker again later" if is_invocation(wait.name) else f"tries {wait.name} again later"
        case _:
            return f"waits for a timer ({wait.name})"


def _moment(ms: int | None) -> str:
    return datetime.fromtimestamp((ms or 0) / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def wait_names(waits: Iterable[Wait]) -> str:
    """The same in few words, for a table."""
    return ", ".join(wait.name if wait.kind == "timer" else f"{_kind(wait)} {wait.name}" for wait in waits)


def _kind(wait: Wait) -> str:
    """A node of a blueprint waits for a token of its own name."""
    return "node" if wait.kind == "token" and wait.detail == wait.name else wait.kind
