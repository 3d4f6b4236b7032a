"""Flowcraft for TypeScript, as npm has it: its runtime in memory, without any journal.

Install it beside this file: `npm install --prefix benchmarks flowcraft@2.10.1`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.measuring import Answer, contend

HERE = Path(__file__).resolve().parent


def rate(shape: str, nodes: int, total: int) -> float:
    """Nodes per second; one warm run, then as many as it takes."""
    command = ["node", str(HERE / "flowcraft.mjs"), shape, str(nodes), str(max(1, total // nodes))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def graph(nodes: int = 100, large: int = 1000, total: int = 20_000) -> Answer:
    answer: dict[str, float] = {}
    for shape in ("chain", "diamond"):
        answer[f"{shape}-{nodes} nodes/s"] = small = rate(shape, nodes, total)
        answer[f"{shape} {large}/{nodes}"] = rate(shape, large, total) / small
    return answer


def graph_runs(nodes: int, runs: int) -> Answer:
    return {f"{shape}-{nodes} nodes/s": rate(shape, nodes, nodes * runs) for shape in ("chain", "diamond")}


if __name__ == "__main__":
    contend({"graph": graph, "graph_runs": graph_runs})
