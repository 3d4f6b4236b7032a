"""Stepwell's blueprints: the graph program alone, in memory, on disk, and large batches."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from msgspec import Raw

from benchmarks.measuring import Answer, Stopwatch, contend, rss_mb
from stepwell import Blueprint, NodeContext, Stepwell
from stepwell.authoring.programs import graph_program
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec
from stepwell.engine.graph.outcome import NodeOutcome
from stepwell.engine.program import Origin, StepCommand
from stepwell.model.entries import Created, StepCompleted
from stepwell.model.ids import RunId
from stepwell.runtime.options import WorkerOptions

FILE = "graphs.db"
SEED = "00" * 16
ONE = NodeOutcome(output=Raw(b"1"))


async def one(ctx: NodeContext[object]) -> int:
    return 1


async def double(ctx: NodeContext[int]) -> int:
    return 2 * ctx.input


def chain(nodes: int) -> Blueprint[None, object]:
    flow = Blueprint[None, object](f"chain-{nodes}")
    for n in range(nodes):
        flow.node(f"n{n}", one)
        if n:
            flow.edge(f"n{n - 1}", f"n{n}")
    return flow


def diamond(nodes: int) -> Blueprint[None, object]:
    """Diamonds of four nodes, one after another."""
    flow = Blueprint[None, object](f"diamond-{nodes}")
    for n in range(nodes // 4):
        for side in "abcd":
            flow.node(f"n{n}{side}", one)
        flow.edge(f"n{n}a", f"n{n}b").edge(f"n{n}a", f"n{n}c").edge(f"n{n}b", f"n{n}d").edge(f"n{n}c", f"n{n}d")
        if n:
            flow.edge(f"n{n - 1}d", f"n{n}a")
    return flow


SHAPES: dict[str, Callable[[int], Blueprint[None, object]]] = {"chain": chain, "diamond": diamond}


def graph(nodes: int = 100, large: int = 1000, total: int = 60_000) -> Answer:
    """The program and nothing else: fed the end of each node, it answers with the next ones."""
    answer: dict[str, float] = {}
    for name, shape in SHAPES.items():
        rate = max(driven(shape(nodes), total // nodes) for _ in range(3))
        larger = max(driven(shape(large), total // large) for _ in range(3))
        answer[f"{name}-{nodes} nodes/s"] = rate
        answer[f"{name} {large}/{nodes}"] = larger / rate
    return answer


def driven(flow: Blueprint[None, object], times: int) -> float:
    """Nodes per second. The blueprint has been read and planned before, as in any worker that knows it."""
    registry = Registry([flow], Codec())
    graph_program(registry, flow, _origin(registry, flow))
    done = 0
    started = time.perf_counter()
    for _ in range(times):
        program = graph_program(registry, flow, _origin(registry, flow))
        program.begin([], at=0, is_repeat=False)
        while program.outcome is None:
            for command in program.take_commands():
                assert isinstance(command, StepCommand)
                command.answer = ONE
                program.apply(StepCompleted(id=command.id, value=Raw(b'{"output":1}')), 0)
                done += 1
    return done / (time.perf_counter() - started)


def _origin(registry: Registry, flow: Blueprint[None, object]) -> Origin:
    created = Created(workflow=flow.id, seed=SEED)
    snapshot = registry.snapshot_of(flow)
    return Origin(
        run=RunId("r"),
        base=1,
        created=created,
        input=Raw(b"null"),
        blueprint=snapshot,
        seed=SEED,
        started_at=0,
        born_at=0,
        random_base=1,
    )


def graph_runs(nodes: int, runs: int, url: str = "memory://", at_once: bool = False) -> Answer:
    """Chains and diamonds through an app, one run after another or all at once."""

    async def scenario() -> Answer:
        flows = [chain(nodes), diamond(nodes)]
        options = WorkerOptions(concurrency=1000)
        answer: dict[str, float] = {}
        async with Stepwell(url or f"sqlite:///{FILE}", include=flows, worker_options=options) as app:
            for flow in flows:
                await (await app.start(flow, None)).result()
                watch = Stopwatch()
                if at_once:
                    handles = await app.start_many(flow, [None] * runs)
                    await asyncio.gather(*(handle.result() for handle in handles))
                else:
                    for _ in range(runs):
                        await (await app.start(flow, None)).result()
                answer[f"{flow.id} nodes/s"] = watch.rate(nodes * runs)["steps/s"]
        return answer

    return asyncio.run(scenario())


def batch(items: int, few: int) -> Answer:
    """One batch; the time of an item among many, beside that of one among few, and what the many take in memory."""

    async def scenario() -> Answer:
        flow = Blueprint[list[int], list[int]]("batch").batch("each", double, over="items", concurrency=100)
        answer: dict[str, float] = {}
        async with Stepwell("memory://", include=[flow]) as app:
            seconds = []
            before = rss_mb()
            for count in (few, items):
                watch = Stopwatch()
                result = await (await app.start(flow, {"items": list(range(count))})).result()
                assert result[-1] == 2 * (count - 1)
                seconds.append(watch.seconds / count)
        answer["items/s"] = 1 / seconds[1]
        answer[f"us/item, {items}/{few}"] = seconds[1] / seconds[0]
        answer["RSS bytes/item"] = (rss_mb() - before) * 1e6 / items
        return answer

    return asyncio.run(scenario())


if __name__ == "__main__":
    sys.modules.setdefault("graphs", sys.modules["__main__"])
    contend({"graph": graph, "graph_runs": graph_runs, "batch": batch})
