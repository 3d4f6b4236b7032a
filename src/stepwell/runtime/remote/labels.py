"""What was said of a run when it was triggered."""

from __future__ import annotations

from stepwell.codec import Codec
from stepwell.formats.voyant.labels import LABELS, Labels, labels_of
from stepwell.model.entries import Created


def labels_of_run(codec: Codec, created: Created) -> Labels:
    """The labels of the run that began so. Children have from the run at the top what they were not given."""
    payload = created.metadata.get(LABELS)
    return labels_of(None if payload is None else codec.opened(payload, where="what was said of a run"))
