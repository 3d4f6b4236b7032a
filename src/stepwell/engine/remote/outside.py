"""What a remote program does to the world outside of its run: children, subscriptions, metadata of runs above it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from stepwell.engine.program import ActCommand, Command, Line, Origin
from stepwell.engine.remote.calls import Change, ChildRequest, RemoteHost
from stepwell.model.entries import Act, Intended, SendMetadata, StartChild, Subscribe
from stepwell.model.ids import CommandId, RunId, child_run_id, keyed_run_id
from stepwell.model.metadata import MetadataOp

SUBSCRIBE = "subscribe."
"""How the ids of subscriptions begin."""


class Outside:
    """The acts of one generation, by command. Each is asked for once; `history` is what it replays."""

    __slots__ = ("_commands", "_host", "_known_children", "_origin", "acts", "history")

    def __init__(self, origin: Origin, host: RemoteHost, commands: list[Command]) -> None:
        self.acts: dict[CommandId, Act] = {}
        self.history: Sequence[Line] = ()
        self._origin = origin
        self._host = host
        self._commands = commands
        self._known_children: dict[CommandId, RunId] | None = None

    def subscribe(self, event: str) -> None:
        """Make this run be found by the event's publishers."""
        id = CommandId(f"{SUBSCRIBE}{event}")
        if id not in self.acts:
            self._act(id, Subscribe(event=event, since=self._origin.born_at))

    def start(self, id: CommandId, child: ChildRequest) -> None:
        """Start a child. Raises what its input is refused with."""
        input = self._host.input_of(child.workflow, child.version, child.input)
        is_shared = bool(child.key) and child.is_detached
        name = CommandId(f"{child.workflow}#{child.key}" if child.key and not is_shared else "")
        run = keyed_run_id(child.workflow, child.key) if is_shared else self._child_id(id, name or id)
        act = StartChild(
            child=run,
            workflow=child.workflow,
            version=child.version,
            input=input,
            on_parent_end="abandon" if child.is_detached else "cancel",
            tags=child.tags,
            is_shared=is_shared,
            name=name,
        )
        self._act(id, act)

    def change_above(self, changes: Sequence[Change], number: int) -> None:
        """Send changes of metadata to the runs that they are for. A run without a parent has none above it."""
        parent = self._origin.created.parent
        if parent is None:
            return
        above = {"parent": parent.run, "root": parent.root or parent.run}
        for target, run in above.items():
            ops = tuple(self._op(change) for change in changes if change.target == target)
            if ops:
                self._act(CommandId(f"@metadata.{target}[{number}]"), SendMetadata(run=run, ops=ops))

    def _op(self, change: Change) -> MetadataOp:
        value = UNSET if change.value is UNSET else self._host.sealed(change.value)
        return MetadataOp(op=change.op, key=change.key, value=value)

    def knows(self, id: CommandId, act: Act) -> bool:
        """Whether the program asked for such an act."""
        return type(self.acts.get(id)) is type(act)

    def _act(self, id: CommandId, act: Act) -> None:
        self.acts[id] = act
        self._commands.append(ActCommand(id, act))

    def _child_id(self, id: CommandId, name: CommandId) -> RunId:
        """As the history has it, for that may have been taken from another run. A key stands for the wait's id."""
        if self._known_children is None:
            acts = (line.entry for line in self.history if isinstance(line.entry, Intended))
            self._known_children = {entry.id: entry.act.child for entry in acts if isinstance(entry.act, StartChild)}
        origin = self._origin
        return self._known_children.get(id) or child_run_id(origin.run, origin.base, name, origin.seed)
