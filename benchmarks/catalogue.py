"""What is measured, of whom, and what it has to be. The row numbers are those of docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One process to run: `python -m benchmarks.<module> <workload> <options>`."""

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    full: dict[str, Any] = field(default_factory=dict)
    """Changed options with --full."""
    note: str = ""


@dataclass(frozen=True)
class Gate:
    """What our metric has to be, absolutely (on a quiet machine with a flush of 0.2 ms) or beside another contender."""

    metric: str
    least: float | None = None
    most: float | None = None
    beside: str = ""
    only_full: bool = False
    """At smaller sizes the figure is noise."""


@dataclass(frozen=True)
class Workload:
    """One table: contenders with the same work. `function` is its name in the modules, if not its own."""

    name: str
    row: int
    title: str
    contenders: tuple[Contender, ...]
    gates: tuple[Gate, ...] = ()
    function: str = ""


def _ours(**options: Any) -> Contender:
    return Contender("ours", "ours", options)


_MANY = {"runs": 1000, "steps": 10}
_WEB = {"requests": 10_000, "connections": 64}

WORKLOADS = (
    Workload(
        "sequential",
        1,
        "1 run, 1000 steps, each flushed to disk before the next",
        (
            _ours(steps=1000),
            Contender("limit", "limit", {"steps": 1000}),
            Contender("toy", "toy", {"steps": 1000}),
            Contender("dbos", "peer_dbos", {"steps": 300}, {"steps": 1000}, note="300 steps"),
        ),
        (Gate("steps/s", least=2500), Gate("steps/s", least=0.45, beside="limit"), Gate("steps/s", 5, beside="dbos")),
    ),
    Workload(
        "relaxed",
        2,
        "the same, durable against the death of the process only",
        tuple(Contender(name, name, {"steps": 1000, "relaxed": True}) for name in ("ours", "limit", "toy")),
        (Gate("steps/s", least=12_000),),
        "sequential",
    ),
    Workload(
        "concurrent",
        3,
        "1000 runs of 10 steps, all at once",
        (
            _ours(**_MANY),
            Contender("limit", "limit", _MANY),
            Contender("toy", "toy", _MANY),
            Contender("dbos", "peer_dbos", {"runs": 100, "steps": 10}, _MANY, note="100 runs"),
        ),
        (
            Gate("steps/s", least=40_000),
            Gate("steps/s", least=0.2, beside="toy"),
            Gate("steps/s", least=150, beside="dbos"),
        ),
    ),
    Workload(
        "staggered",
        4,
        "1000 runs of 10 steps that take 0 to 10 ms",
        (_ours(**_MANY), Contender("toy", "toy", _MANY)),
        (Gate("steps/s", least=25_000),),
    ),
    Workload(
        "sustained",
        5,
        "steps into 1000 runs that live long",
        tuple(
            Contender(name, name, {"runs": 1000, "total": 200_000}, {"total": 5_000_000}) for name in ("ours", "limit")
        ),
        (Gate("steps/s", least=30_000), Gate("last/first tenth", least=0.9, only_full=True)),
    ),
    Workload(
        "latency",
        10,
        "an idle process: from start to the first step, and to the result of a run of one step",
        (
            _ours(times=300),
            Contender("limit", "limit", {"times": 300}, note="one commit"),
            Contender("toy", "toy", {"times": 300}),
            Contender("dbos", "peer_dbos", {"times": 100}),
        ),
        (Gate("first step p50 ms", most=0.5), Gate("first step p99 ms", most=3), Gate("result p50 ms", most=1)),
    ),
    Workload(
        "latency-relaxed",
        10,
        "the same, durable against the death of the process only",
        tuple(Contender(name, name, {"times": 300, "relaxed": True}) for name in ("ours", "limit", "toy")),
        (Gate("first step p50 ms", most=0.1),),
        "latency",
    ),
    Workload(
        "graph",
        13,
        "the graph program alone: 60,000 nodes in chains and diamonds of 100 and of 1,000",
        (
            Contender("ours", "graphs"),
            Contender("flowcraft", "peer_flowcraft", note="in memory, with its runtime"),
        ),
        (
            Gate("chain-100 nodes/s", least=300_000),
            Gate("diamond-100 nodes/s", least=120_000),
            Gate("chain 1000/100", least=0.8),
            Gate("diamond 1000/100", least=0.8),
        ),
    ),
    Workload(
        "graph-memory",
        13,
        "blueprints of 1,000 nodes, journaled in memory",
        (
            Contender("ours", "graphs", {"nodes": 1000, "runs": 10}),
            Contender("at 10 k", "graphs", {"nodes": 10_000, "runs": 1}),
            Contender("flowcraft", "peer_flowcraft", {"nodes": 1000, "runs": 10}, note="no journal"),
        ),
        (Gate("chain-1000 nodes/s", least=60_000), Gate("diamond-1000 nodes/s", least=60_000)),
        "graph_runs",
    ),
    Workload(
        "graph-disk",
        13,
        "100 runs of blueprints of 100 nodes at once, each node flushed to disk before the next",
        (Contender("ours", "graphs", {"nodes": 100, "runs": 100, "url": "", "at_once": True}),),
        (Gate("chain-100 nodes/s", least=25_000),),
        "graph_runs",
    ),
    Workload(
        "batch",
        13,
        "a batch of 100,000 items, at most 100 at a time",
        (Contender("ours", "graphs", {"items": 100_000, "few": 10_000}),),
        (Gate("us/item, 100000/10000", most=1.25),),
    ),
    Workload(
        "memory",
        14,
        "1000 runs of 10 steps in memory",
        (_ours(**_MANY), Contender("toy", "toy", _MANY, note="SQLite in memory")),
        (Gate("steps/s", least=80_000),),
    ),
    Workload(
        "recovery",
        15,
        "killed in step 6 of 10: until all 1000 runs have ended",
        (Contender("ours", "standing", {"runs": 1000}), Contender("toy", "toy", {"runs": 1000})),
    ),
    Workload(
        "recovery-10k",
        15,
        "the same with 10,000 runs",
        (Contender("ours", "standing", {"runs": 10_000}), Contender("toy", "toy", {"runs": 10_000})),
        (Gate("seconds", most=2), Gate("seconds", most=5, beside="toy")),
        "recovery",
    ),
    Workload(
        "resident",
        16,
        "memory of a run that waits: kept for a quick wake, and evicted",
        (Contender("ours", "standing", {"runs": 2000}),),
        (Gate("resident bytes/run", most=8000), Gate("evicted bytes/run", most=0)),
    ),
    Workload(
        "parked",
        17,
        "runs that wait on disk",
        (
            Contender("ours", "standing", {"runs": 50_000}, {"runs": 1_000_000}, note="50,000 (--full: 1 M)"),
            Contender("at 10 k", "standing", {"runs": 10_000}),
        ),
        (
            Gate("bytes/run", most=400),
            Gate("ready ms", most=100),
            Gate("due us/run", most=1.25, beside="at 10 k"),
            Gate("wakes/s", least=10_000),
            Gate("RSS MB", most=150),
        ),
    ),
    Workload(
        "listing",
        17,
        "a page of 100 from a long listing, by each filter and likely pairs of them",
        (Contender("ours", "listing", {"runs": 100_000}, {"runs": 1_000_000}, note="100,000 runs (--full: 1 M)"),),
        (Gate("worst p95 ms", most=100),),
    ),
    Workload(
        "history",
        18,
        "a run with many steps",
        (Contender("ours", "standing", {"steps": 20_000}, {"steps": 100_000}, note="20,000 (--full: 100,000)"),),
        (
            Gate("10,000/1,000 steps", most=10.5),
            Gate("last/first 1,000", most=1.2),
            Gate("replay us/event", most=3),
        ),
    ),
    Workload(
        "counts",
        19,
        "what the store is asked to do, 1000 runs of 10 steps",
        (_ours(**_MANY),),
        (Gate("transactions/step", most=0.05), Gate("rows/step", most=1.3)),
    ),
    Workload(
        "footprint",
        20,
        "import, over the bare interpreter",
        (
            Contender("ours", "standing", {"code": "from stepwell import Context, Stepwell, step, workflow"}),
            Contender("dbos", "standing", {"code": "from dbos import DBOS"}),
            Contender("asyncio", "standing", {"code": "import asyncio"}),
        ),
        (Gate("import ms", most=150), Gate("RSS MB", most=40)),
    ),
    Workload(
        "idle",
        20,
        "a worker with nothing to do",
        (Contender("ours", "standing", {"seconds": 5}),),
        (Gate("transactions", most=0),),
    ),
    Workload(
        "http-runs",
        11,
        "POST /api/runs of a run of one step, answered when it has ended, over 64 connections",
        (
            Contender("ours", "web", {"kind": "worker", "waits": True, **_WEB}),
            Contender("limit", "web", {"kind": "limit", "waits": False, **_WEB}, note="uvicorn, one insert"),
        ),
        (Gate("runs/s", least=3000), Gate("p99 ms", most=100)),
        "starts",
    ),
    Workload(
        "http-starts",
        11,
        "the same with Prefer: respond-async, answered when the start is durable, no worker in the process",
        (
            Contender("ours", "web", {"kind": "api", "waits": False, **_WEB}),
            Contender("limit", "web", {"kind": "limit", "waits": False, **_WEB}, note="uvicorn, one insert"),
        ),
        (Gate("runs/s", least=5000), Gate("p99 ms", most=25)),
        "starts",
    ),
    Workload(
        "sse",
        22,
        "1000 clients follow the stream of one run over HTTP: from a step's chunk, through the commit, to the client",
        (
            Contender(
                "ours", "server_sse", {"kind": "ours", "subscribers": 1000, "runs": 1, "events": 50, "every": 0.1}
            ),
            Contender(
                "uvicorn",
                "server_sse",
                {"kind": "limit", "subscribers": 1000, "runs": 1, "events": 50, "every": 0.1},
                note="nothing stored",
            ),
        ),
        (Gate("p50 ms", most=20), Gate("server us/event", most=1.3, beside="uvicorn")),
        "follow",
    ),
    Workload(
        "sse-journals",
        22,
        "the same for the journal of one run: from a step's result to the client",
        (
            Contender(
                "ours",
                "server_sse",
                {"kind": "ours", "subscribers": 1000, "runs": 1, "events": 50, "every": 0.1, "what": "results"},
            ),
        ),
        (Gate("p50 ms", most=20),),
        "follow",
    ),
    Workload(
        "sse-spread",
        22,
        "1000 clients follow the streams of 1000 runs, each of which sends a chunk in two seconds",
        (
            Contender(
                "ours", "server_sse", {"kind": "ours", "subscribers": 1000, "runs": 1000, "events": 10, "every": 2}
            ),
        ),
        (Gate("p50 ms", most=20),),
        "follow",
    ),
    Workload(
        "remote",
        23,
        "runs of 10 steps by a worker elsewhere, in one call over HTTP, 50 at a time, beside the bare calls",
        (Contender("ours", "remote", {"runs": 1000, "steps": 10, "at_a_time": 50}),),
        (Gate("ours/bare", most=1.3),),
        "steps",
    ),
    Workload(
        "remote-memory",
        23,
        "the same, journaled in memory",
        (Contender("ours", "remote", {"runs": 1000, "steps": 10, "at_a_time": 50, "memory": True}),),
        (Gate("ours/bare", most=1.3),),
        "steps",
    ),
    Workload(
        "remote-waits",
        23,
        "one run elsewhere that waits 100, 300 and 1,000 times, each time with its whole journal on the wire",
        (Contender("ours", "remote", {"counts": [100, 300, 1000]}),),
        (Gate("store bytes/wait, 1000/100", most=1.05), Gate("ms/wire MB, 1000/100", most=1)),
        "waits",
    ),
)
