"""The bodies that the description of the wire shows, word for word, and small ones to make rubbish of."""

from __future__ import annotations

import json
from typing import Any

FIRST = """{"protocolVersion":1,"runId":"run_inv_001","workflowId":"invoice.issue","workflowVersion":"2026-05-01",
 "invocationCount":1,"input":{"bookingId":"bk_7"},
 "journal":{"stepResults":{},"waitpointsResolved":{},"compensationsRun":{},"metadataState":{},"streamsCompleted":{}},
 "environment":"production","deadline":9007199254740991,
 "tenantMeta":{"tenantId":"tnt_acme","projectId":"prj_erp","organizationId":"org_acme"},
 "runMeta":{"number":1,"attempt":1,"triggeredBy":{"kind":"api","actor":"usr_9"},"tags":["invoice"],
 "startedAt":1770000000000}}"""

THIRD = """{"protocolVersion":1,"runId":"run_inv_001","workflowId":"invoice.issue","workflowVersion":"2026-05-01",
 "invocationCount":3,"input":{"bookingId":"bk_7"},
 "journal":{
  "stepResults":{"load":{"attempt":1,"status":"ok","output":{"total":120},"startedAt":1770000000010,
   "finishedAt":1770000000055,"runtime":"edge"}},
  "waitpointsResolved":{
    "sleep:1":{"kind":"DATETIME","resolvedAt":1770000060055,"source":"replay"},
    "signal:approve:2":{"kind":"SIGNAL","resolvedAt":1770000090000,"payload":{"by":"usr_3"},"source":"live"}},
  "compensationsRun":{},"metadataState":{"phase":"approval"},"streamsCompleted":{}},
 "environment":"production","deadline":9007199254740991,
 "tenantMeta":{"tenantId":"tnt_acme","projectId":"prj_erp","organizationId":"org_acme"},
 "runMeta":{"number":1,"attempt":1,"triggeredBy":{"kind":"api","actor":"usr_9"},"tags":["invoice"],
 "startedAt":1770000000000}}"""

_EMPTY = """{"stepResults":{},"waitpointsResolved":{},"compensationsRun":{},"metadataState":{},"streamsCompleted":{}}"""

COMPLETED = """{"status":"completed","output":{"invoiceId":"inv_4"},
 "metadataUpdates":[{"op":"set","key":"phase","value":"done"}],
 "journal":{"stepResults":{"load":{"attempt":1,"status":"ok","output":{"total":120},"startedAt":1770000000010,
            "finishedAt":1770000000055,"runtime":"edge"}},
            "waitpointsResolved":{},"compensationsRun":{},"metadataState":{},"streamsCompleted":{}},
 "streamChunks":[]}"""

WAITING = f"""{{"status":"waiting",
 "waitpoints":[{{"clientWaitpointId":"signal:approve:2","kind":"SIGNAL","meta":{{"signalName":"approve"}},
 "timeoutMs":86400000}}],"metadataUpdates":[],"journal":{_EMPTY},"streamChunks":[]}}"""

FAILED = """{"status":"failed",
 "error":{"category":"USER_ERROR","code":"E_CARD","message":"card refused","name":"Error",
          "stack":"Error: card refused\\n    at …",
          "cause":{"category":"USER_ERROR","code":"UNKNOWN","message":"socket hang up","name":"TypeError","stack":"…"}},
 "metadataUpdates":[],"journal":{"stepResults":{"charge":{"attempt":3,"status":"err",
 "error":{"category":"USER_ERROR","code":"E_CARD","message":"card refused","name":"Error","stack":"…"},
 "startedAt":1,"finishedAt":2,"runtime":"edge"}},
 "waitpointsResolved":{},"compensationsRun":{},"metadataState":{},"streamsCompleted":{}},"streamChunks":[]}"""

UNDONE = f"""{{"status":"compensation_failed",
 "error":{{"category":"USER_ERROR","code":"UNKNOWN","message":"ship failed","name":"Error","stack":"…"}},
 "compensations":[
   {{"stepId":"charge","status":"err","durationMs":12,
     "error":{{"category":"USER_ERROR","code":"UNKNOWN","message":"refund refused","name":"Error","stack":"…"}}}},
   {{"stepId":"reserve","status":"ok","durationMs":3}}],
 "metadataUpdates":[],"journal":{_EMPTY},"streamChunks":[]}}"""

JOURNAL = """{"stepResults":        {"load": {"attempt":2,"status":"ok","output":{"a":1},"startedAt":1770000000010,
   "finishedAt":1770000000055,"runtime":"edge"}},
 "waitpointsResolved": {"event:paid:1": {"kind":"EVENT","resolvedAt":1770000090000,
   "matchedEventId":"evt_live_paid","payload":{"ok":true},"source":"live"}},
 "compensationsRun":   {"load": {"status":"ok","finishedAt":1770000091000}},
 "metadataState":      {"phase":"approval","hits":2},
 "streamsCompleted":   {"log": {"chunkCount":4}}}"""

CHUNKS = """[{"streamId":"log","seq":1,"encoding":"text","chunk":"Hello","final":false,"at":1770000000100},
 {"streamId":"log","seq":2,"encoding":"text","chunk":null,"final":true,"at":1770000000140}]"""

WAITS: list[tuple[str, dict[str, Any]]] = [
    ("DATETIME", {"durationMs": 60_000}),
    ("EVENT", {"eventType": "paid"}),
    ("EVENT", {"eventType": "paid", "iter": True}),
    ("SIGNAL", {"signalName": "approve"}),
    ("MANUAL", {"tokenId": "tok_1"}),
    ("RUN", {"childWorkflowId": "child", "childInput": None, "detach": False, "tags": ["a"]}),
    ("RUN", {"childWorkflowId": "child", "detach": True, "tags": [], "lockToVersion": "2", "idempotencyKey": "k"}),
]
"""Each kind of wait, and what it says."""


def request(**changes: Any) -> dict[str, Any]:
    """The first request, with members changed; None takes one out."""
    value = {**json.loads(FIRST), **changes}
    return {name: member for name, member in value.items() if member is not None}


def outcome(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """The smallest outcome of a status, with members changed; None takes one out."""
    value: dict[str, Any] = {"status": status}
    if status == "failed":
        value["error"] = error()
    if status == "waiting":
        value["waitpoints"] = [wait()]
    if status in ("cancelled", "compensated", "compensation_failed"):
        value["compensations"] = []
    value |= {"metadataUpdates": [], "journal": json.loads(_EMPTY), "streamChunks": [], **changes}
    return {name: member for name, member in value.items() if member is not None}


def journal(**maps: Any) -> dict[str, Any]:
    """An empty journal, with some of its maps changed; None takes one out."""
    value = {**json.loads(_EMPTY), **maps}
    return {name: member for name, member in value.items() if member is not None}


def error(**changes: Any) -> dict[str, Any]:
    """An error, with members changed."""
    return {"category": "USER_ERROR", "code": "UNKNOWN", "message": "it broke", **changes}


def wait(kind: str = "SIGNAL", **changes: Any) -> dict[str, Any]:
    """A wait, with members changed."""
    meta = next((meta for other, meta in WAITS if other == kind), {})
    return {"clientWaitpointId": f"{kind}:1", "kind": kind, "meta": meta, **changes}


def entry(**changes: Any) -> dict[str, Any]:
    """A step's entry, with members changed; None takes one out."""
    value = {"attempt": 1, "status": "ok", "startedAt": 1, "finishedAt": 2, "runtime": "edge", **changes}
    return {name: member for name, member in value.items() if member is not None}


def chunk(**changes: Any) -> dict[str, Any]:
    """A chunk, with members changed."""
    return {"streamId": "log", "seq": 1, "encoding": "json", "chunk": {"a": 1}, "final": False, "at": 5, **changes}
