"""What a frame changes in the head of its run."""

from __future__ import annotations

from msgspec import UNSET, Raw, UnsetType

from stepwell.engine.decisions import Decision
from stepwell.engine.driver import Driver
from stepwell.engine.generations import changed_metadata
from stepwell.model.entries import ContinuedAsNew, MetadataChanged, Sent, Subscribe
from stepwell.ports import HeadChange
from stepwell.runtime.acts import subscriptions

_ERROR_MAX = 500


def head_change(driver: Driver, decision: Decision, *, has_streams: bool, resets_takes: bool) -> HeadChange | None:
    """What the decision's frame changes; None: nothing. `has_streams`: the run has chunks that may not be written yet.
    `resets_takes`: this frame is the first since the run was taken over, and shows that it does not kill its workers.
    """
    ended = driver.ended
    last = decision.entries[-1]
    if ended is not None and last is ended:
        sends = has_streams or any(type(entry) is Sent for entry in decision.entries)
        is_settled = not driver.obligations() and not sends
        return HeadChange(
            status=ended.status,  # type: ignore[arg-type]
            wake_at=None if is_settled else UNSET,
            release=is_settled,
            takes=0,
            ended_at=driver.at,
            metadata=metadata_of(driver),
            waiting=(),
            error="" if ended.failure is None else str(ended.failure)[:_ERROR_MAX],
        )
    if type(last) is ContinuedAsNew:
        kept = (entry for frame in last.history for entry in frame.entries)
        metadata, tags = changed_metadata(last.created, kept), dict(driver.fold.created.tags)
        return HeadChange(base=driver.seq + 1, takes=0, metadata=metadata, tags=tags, waiting=())
    if decision.acts and any(isinstance(command.act, Subscribe) for command in decision.acts):
        return HeadChange(tags={**driver.fold.created.tags, **subscriptions(driver.fold.acts.values())}, takes=1)
    return HeadChange(takes=1) if resets_takes else None


def metadata_of(driver: Driver) -> dict[str, Raw] | UnsetType:
    """The run's metadata: that of its body, or, if that is not in memory, what its journal has changed, if anything."""
    if driver.program is not None:
        return dict(driver.program.metadata)
    changes = [line.entry for line in driver.fold.lines if isinstance(line.entry, MetadataChanged)]
    return changed_metadata(driver.fold.created, changes) if changes else UNSET
