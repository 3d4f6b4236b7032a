"""The writing operations of the store, as functions of a session inside of a transaction.

All follow one pattern, which takes a handful of statements for any number of items: read what decides, decide in Python
item by item (an item sees what the items before it did), then write in bulk. A plain frame is decided by its insert.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from stepwell.backends.sqlite.bulk import INSERT_FRAMES, INSERT_MAIL, INSERT_RUNS, INSERT_TAGS, Value, update_runs
from stepwell.backends.sqlite.rows import changed_columns, head_of, row_of, tags_of
from stepwell.backends.sqlite.search import SPAN_BITS
from stepwell.backends.sqlite.session import Session, as_json, escaped
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import TERMINAL, Head
from stepwell.ports import (
    MAX_SEQ,
    Append,
    Appended,
    Delivered,
    Delivery,
    NewRun,
    Park,
    Parked,
    Serves,
    Taken,
)

SEQ_BITS = 24
"""`pos` of a frame is `no << SEQ_BITS | seq`."""

_HEAD_FIELDS = ("status", "wake_at", "takes", "base", "version", "ended_at", "tags", "metadata", "waiting", "error")
_PARK_FIELDS = ("seq", "status", "waiting", "metadata", "error")


class TakeRequest(NamedTuple):
    """The arguments of one `take`."""

    claim: Claim
    lease_ms: int
    limit: int
    serves: Serves
    runs: tuple[RunId, ...] | None


class RenewRequest(NamedTuple):
    """One lease to renew."""

    run: RunId
    claim: Claim
    lease_ms: int


class _State:
    """What decides about a run, and the columns that change."""

    __slots__ = ("accepted_at", "changes", "created_at", "mail", "no", "owner", "status", "wake_at")

    def __init__(
        self, no: int, status: str, owner: Claim | None, mail: int, wake_at: int | None, created_at: int
    ) -> None:
        self.no = no
        self.status = status
        self.owner = owner
        self.mail = mail
        self.wake_at = wake_at
        self.created_at = created_at
        self.accepted_at = created_at
        self.changes: dict[str, Value] = {}


def create(session: Session, runs: Sequence[NewRun]) -> list[Head | None]:
    """Insert what is not there."""
    ids = {new.head.id for new in runs}
    there: dict[RunId, Head] = {}
    for row in session.fetch_json("heads_by_id", as_json(list(ids))):
        there[row[1]] = head_of(row)
    no, first_open = (session.fetch("last_run") or [(0, 0)])[0]
    answers: list[Head | None] = []
    heads: list[tuple[Value, ...]] = []
    frames: list[tuple[Value, ...]] = []
    now = session.clock.now() if any(new.wake_in_ms is not None for new in runs) else 0
    for new in runs:
        head = new.head if new.wake_in_ms is None else replace(new.head, wake_at=now + new.wake_in_ms)
        answers.append(there.get(head.id))
        if head.id in there:
            continue
        there[head.id] = head
        no += 1
        session.learn(head.id, no)
        heads.append(row_of(no, head))
        frames += [(no << SEQ_BITS | seq, body) for seq, body in enumerate(new.frames, 1)]
        if head.tags:
            session.insert(INSERT_TAGS, [(head.namespace, key, value, no) for key, value in head.tags.items()])
    session.insert(INSERT_RUNS, heads)
    session.insert(INSERT_FRAMES, frames)
    _close_spans(session, first_open, no)
    return answers


def _close_spans(session: Session, first: int, last: int) -> None:
    """Count the spans whose last number was given away."""
    for span in range(first, last + 1 >> SPAN_BITS):
        session.write("close_span", span << SPAN_BITS, (span + 1 << SPAN_BITS) - 1)


def take(session: Session, requests: Sequence[TakeRequest]) -> list[Taken]:
    """Claim; each request after the other."""
    return [_take(session, request) for request in requests]


def _take(session: Session, request: TakeRequest) -> Taken:
    now = session.clock.now()
    serves = request.serves
    queues = as_json([escaped(queue) for queue in serves.queues])
    kinds = None if serves.kinds is None else as_json([escaped(kind) for kind in serves.kinds])
    if request.runs is None:
        found = session.fetch_json("due_runs", now, queues, kinds, request.limit)
    else:
        found = session.fetch_json("takeable_runs", now, queues, kinds, request.limit, as_json(request.runs))
    if not found:
        return Taken((), now)
    wanted = as_json(found)
    session.write("claim_runs", request.claim, now + request.lease_ms, wanted)
    heads = []
    for row in session.fetch_json("heads_by_no", wanted):
        heads.append(head_of(row))
        session.learn(row[1], row[0])
    return Taken(tuple(heads), now)


def append(session: Session, frames: Sequence[Append]) -> list[Appended]:
    """Write frames: those with a condition first, because the others are decided by what is there."""
    guarded = [at for at, frame in enumerate(frames) if frame.owner is not None or frame.mail is not None]
    answers: list[Appended] = ["ok"] * len(frames)
    rows: list[tuple[Value, ...]] = []
    if guarded:
        _decide(session, [frames[at] for at in guarded], guarded, answers, rows)
    if len(guarded) == len(frames):
        session.insert(INSERT_FRAMES, rows)
        return answers
    conditional = set(guarded)
    plain: list[int] = []
    numbers = session.numbers([frame.run for frame in frames])
    for at, frame in enumerate(frames):
        if at in conditional:
            continue
        no = numbers.get(frame.run)
        if no is None:
            answers[at] = "missing"
        else:
            plain.append(at)
            rows.append((no << SEQ_BITS | frame.seq, frame.body))
    if session.insert(INSERT_FRAMES, rows) != len(rows):
        _compare(session, plain, rows[len(rows) - len(plain) :], answers)
    return answers


def _decide(
    session: Session,
    frames: Sequence[Append],
    places: Sequence[int],
    answers: list[Appended],
    rows: list[tuple[Value, ...]],
) -> None:
    """Answer conditional frames, add the rows of those that are written, and write their head changes."""
    states = _states(session, {frame.run for frame in frames})
    poses = [states[frame.run].no << SEQ_BITS | frame.seq for frame in frames if frame.run in states]
    there: dict[int, bytes] = dict(session.fetch("frames_at", as_json(poses)))
    for at, frame in zip(places, frames, strict=True):
        state = states.get(frame.run)
        if state is None:
            answers[at] = "missing"
            continue
        pos = state.no << SEQ_BITS | frame.seq
        if pos in there:
            answers[at] = "ok" if there[pos] == frame.body else "exists"
        elif frame.owner is not None and frame.owner != state.owner:
            answers[at] = "lost"
        elif frame.mail is not None and frame.mail != state.mail:
            answers[at] = "mail"
        else:
            there[pos] = frame.body
            rows.append((pos, frame.body))
            if frame.head is not None:
                _change(session, state, frame)
    _write_ends(session, states.values())
    _write_changes(session, states.values())


def _write_ends(session: Session, states: Iterable[_State]) -> None:
    """Spans know when the first of their runs ended: mostly known already, since others ended before."""
    ends: dict[int, int] = {}
    for state in states:
        ended_at = state.changes.get("ended_at")
        if isinstance(ended_at, int):
            span = state.no >> SPAN_BITS
            ends[span] = min(ended_at, ends.get(span, ended_at))
    for span, ended_at in ends.items():
        session.write("end_in_span", span, ended_at)


def _change(session: Session, state: _State, frame: Append) -> None:
    change = frame.head
    assert change is not None
    state.changes |= changed_columns(change, _HEAD_FIELDS)
    state.changes["seq"] = frame.seq
    if change.release:
        state.owner = state.changes["owner"] = None
    if isinstance(change.tags, dict):
        _replace_tags(session, state.no, change.tags)


def _replace_tags(session: Session, no: int, tags: dict[str, str]) -> None:
    """The index of tags follows the head, which still holds the old ones."""
    ((namespace, old),) = session.fetch("tags_of_run", no)
    for key, value in (tags_of(old) if old else {}).items():
        session.write("delete_tag", namespace, key, value, no)
    session.insert(INSERT_TAGS, [(namespace, key, value, no) for key, value in tags.items()])


def _compare(
    session: Session,
    plain: Sequence[int],
    rows: Sequence[tuple[Value, ...]],
    answers: list[Appended],
) -> None:
    """Some of these were there: the identical ones are as good as written."""
    there = dict(session.fetch("frames_at", as_json([row[0] for row in rows])))
    for at, (pos, body) in zip(plain, rows, strict=True):
        answers[at] = "ok" if there[pos] == body else "exists"


def park(session: Session, parks: Sequence[Park]) -> list[Parked]:
    """Let runs go, where owner and mail are as given."""
    states = _states(session, {item.run for item in parks})
    answers: list[Parked] = []
    for item in parks:
        state = states.get(item.run)
        if state is None or state.owner != item.owner:
            answers.append("lost")
        elif item.mail is not None and item.mail != state.mail:
            answers.append("mail")
        else:
            state.owner = None
            state.changes |= {"owner": None, "wake_at": item.wake_at, "takes": item.takes}
            state.changes |= changed_columns(item, _PARK_FIELDS)
            answers.append("ok")
    _write_changes(session, states.values())
    return answers


def renew(session: Session, requests: Sequence[RenewRequest]) -> list[int | None]:
    """Move the ends of leases, where the owner is as given."""
    now = session.clock.now()
    states = _states(session, {request.run for request in requests})
    by_end: dict[int, list[int]] = {}
    answers: list[int | None] = []
    for request in requests:
        state = states.get(request.run)
        if state is None or state.owner != request.claim:
            answers.append(None)
        else:
            by_end.setdefault(now + request.lease_ms, []).append(state.no)
            answers.append(state.mail)
    for end, numbers in by_end.items():
        session.write("renew_runs", end, as_json(numbers))
    return answers


def deliver(session: Session, messages: Sequence[Delivery]) -> list[Delivered]:
    """Accept messages; several for one run change its head once."""
    now = session.clock.now()
    states = _states(session, {message.run for message in messages})
    known = _known_messages(session, states, messages)
    _learn_accepted_at(session, states.values())
    rows: list[tuple[Value, ...]] = []
    answers: list[Delivered] = []
    for message in messages:
        state = states.get(message.run)
        if state is None:
            answers.append(Delivered("missing"))
        elif (state.no, message.id) in known:
            answers.append(Delivered("duplicate", state.owner))
        elif state.status in TERMINAL:
            answers.append(Delivered("closed"))
        else:
            known.add((state.no, message.id))
            answers.append(Delivered("ok", state.owner))
            rows.append(_accept(state, message, now))
    session.insert(INSERT_MAIL, rows)
    _write_changes(session, states.values())
    return answers


def _accept(state: _State, message: Delivery, now: int) -> tuple[Value, ...]:
    state.mail += 1
    state.accepted_at = max(state.accepted_at, now)
    state.changes["mail"] = state.mail
    if state.owner is None and (state.wake_at is None or state.wake_at > now):
        state.wake_at = state.changes["wake_at"] = now
    return state.no, state.mail, message.id, state.accepted_at, message.body


def _known_messages(
    session: Session, states: dict[RunId, _State], messages: Sequence[Delivery]
) -> set[tuple[int, str]]:
    wanted = [(states[message.run].no, escaped(message.id)) for message in messages if message.run in states]
    return {(no, id) for no, id in session.fetch_json("known_messages", as_json(wanted))}


def _learn_accepted_at(session: Session, states: Iterable[_State]) -> None:
    """Times in one inbox never go back, whatever the clock does."""
    with_mail = {state.no: state for state in states if state.mail}
    if with_mail:
        for no, accepted_at in session.fetch_json("last_mail", as_json(list(with_mail))):
            with_mail[no].accepted_at = max(accepted_at, with_mail[no].created_at)


def delete(session: Session, runs: Sequence[RunId]) -> list[bool]:
    """Remove settled runs and everything that names them."""
    states = _states(session, set(runs))
    answers = []
    gone: dict[RunId, _State] = {}
    for id in runs:
        state = states.get(id)
        is_settled = state is None or (state.status in TERMINAL and state.owner is None and state.wake_at is None)
        answers.append(is_settled)
        if state is not None and is_settled:
            gone[id] = state
    for id, state in gone.items():
        _replace_tags(session, state.no, {})
        session.write("delete_frames", state.no << SEQ_BITS, state.no << SEQ_BITS | MAX_SEQ)
        session.write("delete_mail", state.no)
        session.write("delete_names", id)
        session.write("delete_run", state.no)
        session.unlearn(id)
    if gone:
        session.write("count_deletion")
    return answers


def reserve(session: Session, names: Sequence[tuple[str, str]]) -> list[str]:
    """Put names if absent; answers their holders."""
    holders = []
    for name, holder in names:
        session.write("reserve", name, holder)
        holders.append(str(session.fetch("resolve", name)[0][0]))
    return holders


def release(session: Session, names: Sequence[tuple[str, str]]) -> list[None]:
    """Free names that these holders hold."""
    for name, holder in names:
        session.write("release", name, holder)
    return [None] * len(names)


def free_claims(session: Session, identities: Sequence[str]) -> list[int]:
    """Make the runs of dead processes due, up to a bound; answers how many there were."""
    now = session.clock.now()
    return [session.write("free_claims", now, identity, FREE_MAX) for identity in identities]


FREE_MAX = 20_000


def _states(session: Session, ids: set[RunId]) -> dict[RunId, _State]:
    found = {}
    for row in session.fetch_json("run_states", as_json(list(ids))):
        found[row[0]] = _State(*row[1:])
        session.learn(row[0], row[1])
    return found


def _write_changes(session: Session, states: Iterable[_State]) -> None:
    by_columns: dict[tuple[str, ...], list[tuple[Value, ...]]] = {}
    for state in states:
        if state.changes:
            row = (state.no, *state.changes.values())
            by_columns.setdefault(tuple(state.changes), []).append(row)
            state.changes = {}
    for columns, rows in by_columns.items():
        session.update(update_runs(columns), rows)
