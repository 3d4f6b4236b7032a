"""Runs in the shapes of the Voyant orchestrator: the record of a run, and what its clients send."""

from stepwell.formats.voyant.bodies import Cancel, Injection, Resume, Trigger, injection_of
from stepwell.formats.voyant.labels import LABELS, Labels, run_id, tag_list, tag_map
from stepwell.formats.voyant.record import RunRecord
from stepwell.formats.voyant.view import RemoteView, RunView, StreamItem, run_record

__all__ = [
    "LABELS",
    "Cancel",
    "Injection",
    "Labels",
    "RemoteView",
    "Resume",
    "RunRecord",
    "RunView",
    "StreamItem",
    "Trigger",
    "injection_of",
    "run_id",
    "run_record",
    "tag_list",
    "tag_map",
]
