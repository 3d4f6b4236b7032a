"""How the next generation of a run begins: what it takes over from the one that ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Raw, structs

from stepwell.engine.fold import Fold
from stepwell.engine.prefix import Generation, Where, has_only_messages, rebased, settled_prefix, unbegun
from stepwell.model.entries import ContinuedAsNew, Created, Entry, Frame, MetadataChanged, Received
from stepwell.model.failures import NULL


def continued(fold: Fold, metadata: dict[str, Raw], *, input: Raw, unread: tuple[Received, ...] = ()) -> ContinuedAsNew:
    """By `ctx.continue_as_new`: a new input, no history."""
    return ContinuedAsNew(
        created=structs.replace(fold.created, metadata=metadata, seeds={}),
        input=input,
        unread=unread,
        mail=fold.mail,
        born_at=fold.origin.born_at,
        previous=fold.origin.base,
        names=tuple(sorted(fold.names())),
    )


def retried(fold: Fold, journal: Sequence[Frame], *, not_before: int, base: int) -> ContinuedAsNew:
    """By the retry policy: the input and the metadata that it began with, and what was settled in `journal`, the
    generation's frames. What changed the metadata is in there, or happens again.

    A body that has nothing to replay begins anew, with a clock of its own; else that of the history goes on.
    """
    origin = fold.origin
    history = rebased(
        unbegun(settled_prefix(journal, Where.FAILURE, base=origin.base)),
        Generation(origin.run, base, origin.seed),
    )
    entry = continued(fold, fold.created.metadata, input=origin.input, unread=origin.unread)
    return structs.replace(
        entry,
        created=structs.replace(entry.created, seeds=fold.created.seeds),
        retries=fold.retries + 1,
        not_before=not_before,
        started_at=0 if has_only_messages(history) else origin.started_at,
        random_base=origin.random_base,
        history=history,
    )


def changed_metadata(created: Created, entries: Iterable[Entry]) -> dict[str, Raw]:
    """The metadata that a generation begins with, as these of its entries change it."""
    found = dict(created.metadata)
    for entry in entries:
        if isinstance(entry, MetadataChanged):
            found.update(entry.values)
    return {key: raw for key, raw in found.items() if raw != NULL}
