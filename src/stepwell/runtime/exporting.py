"""One run as one JSON document: to look into elsewhere, to replay, to report a bug with."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct, structs

from stepwell.engine.prefix import Generation, Where, generation_start, rebased, settled_prefix
from stepwell.errors import DefinitionError, RunConflictError
from stepwell.model.entries import ContinuedAsNew, Created, Ended, Entry, Frame, Received
from stepwell.model.ids import Claim, MessageId, RunId
from stepwell.model.messages import PauseRequested
from stepwell.model.runs import Head, checked_run_id
from stepwell.ports import NewRun
from stepwell.runtime.client import Client
from stepwell.runtime.payloads import loaded_mail, spilled_frame
from stepwell.runtime.sealing import sealed

FORMAT = "stepwell-run"
VERSION = 1


class RunExport(Struct, frozen=True, kw_only=True):
    """A run with its whole journal and the messages that it has not read. Payloads are inline, as the codec made them:
    encrypted ones stay encrypted. Files that steps stored are not in it, only their references.

    Without the `seed` nobody can make the run's hook tokens from it, nor its random numbers.
    """

    format: str = FORMAT
    version: int = VERSION
    exported_at: int = 0
    head: Head
    frames: tuple[Frame, ...]
    mail: tuple[Received, ...] = ()

    @property
    def last_generation(self) -> list[tuple[int, Frame]]:
        """The frames, with their seqs, that a worker would load."""
        base = self.head.base
        return list(enumerate(self.frames[base - 1 :], base))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RunExport).decode


async def export_run(client: Client, run: RunId, *, with_seed: bool) -> bytes:
    """The run as a document. `RunNotFoundError`."""
    loaded, frames = await client.journal(run)
    last = max((no for _, frame in frames for no in _numbers(frame)), default=0)
    mail = tuple(await loaded_mail(client.backend.blobs, [item for item in loaded.mail if item.no > last]))
    codec = client.codec
    journal = tuple(sealed(frame if with_seed else _without_seed(frame), codec) for _, frame in frames)
    mail = tuple(sealed(item, codec) for item in mail)
    head = structs.replace(loaded.head, seq=frames[-1][0])
    return _encode(RunExport(exported_at=client.backend.clock.now(), head=head, frames=journal, mail=mail))


def read_export(data: bytes) -> RunExport:
    """The document again. `DefinitionError` if it is not one, or of a newer version."""
    try:
        export = _decode(data)
    except msgspec.MsgspecError as error:
        raise DefinitionError(f"this is not an exported run: {error}") from None
    if export.format != FORMAT or not export.frames:
        raise DefinitionError(f"this is not an exported run: its format is {export.format!r}")
    if export.version > VERSION:
        raise DefinitionError(
            f"this run was exported by a newer Stepwell (format {export.version}); upgrade to read it"
        )
    if (mistake := _mistake(export)) is not None:
        raise DefinitionError(f"this exported run was changed: {mistake}; export it again")
    return export


def _mistake(export: RunExport) -> str | None:
    """What in a document contradicts itself."""
    head, frames = export.head, export.frames
    if not 1 <= head.base <= len(frames) or head.seq != len(frames):
        return f"it has {len(frames)} frames, and its head says base {head.base} and seq {head.seq}"
    if not all(frame.entries for frame in frames) or not isinstance(frames[0].entries[0], Created):
        return "its journal does not begin with its creation, or has an empty frame"
    start = frames[head.base - 1].entries
    if not isinstance(start[0], Created) and not isinstance(start[-1], ContinuedAsNew):
        return f"no generation begins in frame {head.base}"
    if head.is_terminal != isinstance(frames[-1].entries[-1], Ended):
        return f"its head says {head.status}, its last frame does not"
    return None


async def import_run(client: Client, data: bytes, *, id: str | None) -> RunId:
    """Create a run from a document, which never starts by itself: one that had ended is there to look into, replay and
    fork; one that had not is paused, with its unread messages, and goes on when it is resumed."""
    export = read_export(data)
    new_id = checked_run_id(id or f"{export.head.id}-import")
    head, frames = _ended(export, new_id) if export.head.is_terminal else _paused(client, export, new_id)
    bodies = tuple([await spilled_frame(client.backend.blobs, new_id, frame) for frame in frames])
    if await client.create_run(NewRun(head=head, frames=bodies)) is not None:
        raise RunConflictError(f"run {new_id} exists; import it under another id")
    return new_id


def _ended(export: RunExport, id: RunId) -> tuple[Head, list[Frame]]:
    head = structs.replace(export.head, id=id, owner=None, wake_at=None, takes=0, parent=None)
    return head, list(export.frames)


def _paused(client: Client, export: RunExport, id: RunId) -> tuple[Head, list[Frame]]:
    clock = client.backend.clock
    now = clock.now()
    old = export.head
    own = export.last_generation
    base, first = own[0]
    start = generation_start(first)
    kept = start.history if isinstance(start, ContinuedAsNew) else ()
    seed = _seed_of(start) or clock.random_bytes(16).hex()
    prefix = settled_prefix([*kept, *(frame for _, frame in own)], Where.END, base=base)
    prefix = rebased(prefix, Generation(id, base, seed))
    frames = [_with_origin(frame, seed, old.id) for frame in export.frames[:base]]
    if len(own) == 1 and not old.waiting:
        frames[-1] = _not_before(frames[-1], now)
    if isinstance(start, ContinuedAsNew):
        frames[-1] = _without_history(frames[-1])
    mail = max([old.mail, *(item.no for item in export.mail)])
    pause = Received(
        no=mail + 1, id=MessageId("pause:import"), at=now, message=PauseRequested(reason=f"imported from {old.id}")
    )
    by = Claim(f"{client.backend.store.identity}:import")
    frames += [*prefix, Frame(export.frames[-1].at, by, (*export.mail, pause))]
    head = structs.replace(
        old,
        id=id,
        status="paused",
        owner=None,
        wake_at=None,
        takes=0,
        mail=mail + 1,
        seq=len(frames),
        parent=None,
    )
    return head, frames


def _numbers(frame: Frame) -> list[int]:
    return [
        entry.mail if isinstance(entry, ContinuedAsNew) else entry.no
        for entry in frame.entries
        if isinstance(entry, Received | ContinuedAsNew)
    ]


def _without_seed(frame: Frame) -> Frame:
    return _converted(frame, lambda created: structs.replace(created, seed=""))


def _with_origin(frame: Frame, seed: str, run: RunId) -> Frame:
    return _converted(frame, lambda created: structs.replace(created, seed=seed, forked_from=run, parent=None))


def _converted(frame: Frame, convert: Callable[[Created], Created]) -> Frame:
    """The frame with each `Created` in it converted: a run's first entry is repeated at the start of a generation."""
    entries: list[Entry] = []
    for entry in frame.entries:
        if isinstance(entry, Created):
            entries.append(convert(entry))
        elif isinstance(entry, ContinuedAsNew):
            entries.append(structs.replace(entry, created=convert(entry.created)))
        else:
            entries.append(entry)
    return structs.replace(frame, entries=tuple(entries))


def _without_history(frame: Frame) -> Frame:
    """A generation whose history follows as frames of its own."""
    start = frame.entries[-1]
    assert isinstance(start, ContinuedAsNew), "it begins a generation"
    return structs.replace(frame, entries=(*frame.entries[:-1], structs.replace(start, history=())))


def _not_before(frame: Frame, at: int) -> Frame:
    """A generation whose body has not begun: its clock is not to begin before the run is here."""
    *others, start = frame.entries
    assert isinstance(start, Created | ContinuedAsNew), "its first frame is all there is of it"
    return structs.replace(frame, entries=(*others, structs.replace(start, not_before=max(at, start.not_before))))


def _seed_of(start: Created | ContinuedAsNew) -> str:
    return start.seed if isinstance(start, Created) else start.created.seed
