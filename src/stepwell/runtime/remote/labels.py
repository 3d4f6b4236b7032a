"""What was said of a run when it was triggered, and what its children have from it."""

from __future__ import annotations

from collections import OrderedDict

from stepwell.codec import Codec
from stepwell.formats.voyant.labels import LABELS, Labels, inherited, labels_of
from stepwell.model.entries import Created
from stepwell.model.ids import RunId
from stepwell.runtime.client import Client

_KEPT_MAX = 10_000


async def labels_of_run(client: Client, codec: Codec, created: Created) -> Labels:
    """The labels of the run that began so: its own, and for the rest those of the run at the top."""
    own, parent = _labels(codec, created), created.parent
    if parent is None:
        return own
    top = await client.created(parent.root or parent.run)
    return own if top is None else inherited(own, _labels(codec, top))


class LabelCache:
    """Labels by run: they never change."""

    def __init__(self, client: Client, codec: Codec) -> None:
        self._client = client
        self._codec = codec
        self._kept: OrderedDict[RunId, Labels] = OrderedDict()

    async def of(self, run: RunId, created: Created) -> Labels:
        """Those of the run that began so."""
        found = self._kept.get(run)
        if found is None:
            found = self._kept[run] = await labels_of_run(self._client, self._codec, created)
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        return found


def _labels(codec: Codec, created: Created) -> Labels:
    payload = created.metadata.get(LABELS)
    return labels_of(None if payload is None else codec.opened(payload, where="the labels of a run"))
