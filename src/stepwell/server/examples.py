"""Examples for the OpenAPI document: what is sent, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Example(Struct, frozen=True, kw_only=True):
    """A body, and the answer to it. None: there is none, or it needs no example."""

    body: Any = None
    status: int = 200
    answer: Any = None


_RUN = {
    "id": "order-7",
    "workflow": "checkout",
    "version": "",
    "status": "waiting",
    "queue": "default",
    "priority": 0,
    "created_at": 1_778_000_000_000,
    "tags": {"customer": "acme"},
    "metadata": {"progress": 0.5},
    "waiting": [{"kind": "signal", "name": "approve"}],
}
EXAMPLES: Mapping[tuple[str, str], Example] = {
    ("POST", "/api/runs"): Example(
        body={"workflowId": "checkout", "input": {"order": 7}, "runId": "order-7", "tags": ["customer:acme"]}
    ),
    ("GET", "/api/runs"): Example(answer={"runs": [_RUN], "cursor": None}),
    ("POST", "/api/runs/{run}/fork"): Example(
        body={"from_step": "charge", "edit": {"load": {"total": 120}}},
        status=201,
        answer={"run": "order-7-fork", "origin": "order-7"},
    ),
    ("POST", "/api/runs/{run}/pause"): Example(
        body={"reason": "a look at the stock"}, status=202, answer={"run": "order-7"}
    ),
    ("GET", "/api/runs/{run}/events"): Example(
        answer={
            "events": [
                {"seq": 1, "at": 1_778_000_000_000, "type": "created", "workflow": "checkout", "input": {"order": 7}},
                {"seq": 2, "at": 1_778_000_000_120, "type": "step", "id": "charge", "value": "ok", "ms": 118},
                {"seq": 2, "at": 1_778_000_000_120, "type": "ended", "status": "completed", "value": "ok"},
            ],
            "next": 2,
            "done": True,
        }
    ),
    ("GET", "/api/runs/{run}/streams/{stream:path}"): Example(
        answer={
            "chunks": [{"index": 0, "value": "Hel", "source": "write", "attempt": 1, "restarts": False}],
            "next": 1,
            "done": False,
        }
    ),
    ("POST", "/api/bulk/cancel"): Example(
        body={"filter": {"workflow": "checkout", "tag": {"customer": "acme"}}, "reason": "closed for the day"},
        answer={"results": [{"run": "order-7", "ok": True}], "cursor": None},
    ),
    ("POST", "/api/publish/{event:path}"): Example(
        body={"order": 7, "amount": 120}, answer={"event": "order.paid", "waiting": 1}
    ),
    ("POST", "/api/tokens"): Example(body={"run": "order-7", "stream": "words"}),
}
