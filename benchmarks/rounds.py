"""Running contenders in turn, each in a process and a directory of its own, and taking medians."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.catalogue import Contender, Workload

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "dbos": "pip install 'stepwell[bench]'",
    "flowcraft": "npm install --prefix benchmarks flowcraft@2.10.1",
}
Figures = dict[str, dict[str, list[float]]]
"""Contender, metric, one value per round. The same place in two lists is the same minute."""


class BenchmarkError(Exception):
    """A contender failed."""


def missing(contender: Contender) -> str | None:
    """How to install what this contender needs, if it is not there."""
    how = PEERS.get(contender.name)
    is_there = (
        importlib.util.find_spec(contender.name) or (Path(__file__).parent / "node_modules" / contender.name).exists()
    )
    return None if how is None or is_there else how


def measure(workload: Workload, *, rounds: int, full: bool, directory: Path, tell: Callable[[str], None]) -> Figures:
    """The figures of all contenders that can run. They take turns, so that a noisy minute hits all of them."""
    answers: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for contender in workload.contenders:
            if (how := missing(contender)) is not None:
                if contender.name not in answers:
                    answers[contender.name] = []
                    tell(f"{contender.name} is not installed: {how}")
                continue
            answers.setdefault(contender.name, []).append(run(workload, contender, full=full, directory=directory))
    return {name: by_metric(found) for name, found in answers.items() if found}


def run(workload: Workload, contender: Contender, *, full: bool, directory: Path) -> dict[str, float]:
    """One process, in an empty directory."""
    options = {**contender.options, **(contender.full if full else {})}
    command = [sys.executable, "-m", f"benchmarks.{contender.module}", workload.function or workload.name]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with tempfile.TemporaryDirectory(dir=directory, prefix="bench-") as empty:
        done = subprocess.run(
            [*command, json.dumps(options)],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=3600 if full else 180,
            check=False,
        )
    if done.returncode != 0:
        raise BenchmarkError(f"{workload.name} of {contender.name} failed:\n{done.stderr.strip()}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def by_metric(answers: list[dict[str, float]]) -> dict[str, list[float]]:
    """The rounds of each metric."""
    return {metric: [answer[metric] for answer in answers] for metric in answers[0]}
