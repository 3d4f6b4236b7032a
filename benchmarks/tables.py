"""Figures as text."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.catalogue import Gate, Workload
from benchmarks.rounds import Figures


def table(workload: Workload, figures: Figures) -> Iterator[str]:
    """The lines for one workload: figures, ratios, gates."""
    yield ""
    yield f"{workload.name} (row {workload.row}): {workload.title}"
    metrics = list(figures["ours"])
    for contender in workload.contenders:
        found = figures.get(contender.name)
        if found is None:
            continue
        cells = [f"{metric} {number(found[metric])}" for metric in metrics if metric in found]
        note = f"  ({contender.note})" if contender.note else ""
        yield f"  {contender.name:<8} " + "   ".join(cells) + note
    for gate in workload.gates:
        verdict = judged(gate, figures)
        if verdict is not None:
            yield f"    {'ok  ' if verdict[0] else 'MISS'} {verdict[1]}"


def judged(gate: Gate, figures: Figures) -> tuple[bool, str] | None:
    """Whether our figure passes, and in words; None if what it is compared with is missing."""
    ours = figures["ours"][gate.metric]
    name = gate.metric
    if gate.beside:
        other = figures.get(gate.beside, {}).get(gate.metric)
        if not other:
            return None
        ours, name = ours / other, f"{gate.metric}, ours/{gate.beside}"
    if gate.least is not None:
        return ours >= gate.least, f"{name}: {number(ours)}, at least {number(gate.least)}"
    assert gate.most is not None, "a gate has a side"
    return ours <= gate.most, f"{name}: {number(ours)}, at most {number(gate.most)}"


def number(value: float) -> str:
    """Three figures, or all that stand before the point."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
