"""Figures as text. A gate is passed or missed only if every round says so; between, the figures do not decide."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.catalogue import Gate, Workload
from benchmarks.rounds import Figures


def table(workload: Workload, figures: Figures, *, full: bool = False) -> Iterator[str]:
    """The lines for one workload: medians with their range, and gates."""
    yield ""
    yield f"{workload.name} (row {workload.row}): {workload.title}"
    metrics = list(figures["ours"])
    for contender in workload.contenders:
        found = figures.get(contender.name)
        if found is None:
            continue
        cells = [f"{metric} {spread(found[metric])}" for metric in metrics if metric in found]
        note = f"  ({contender.note})" if contender.note else ""
        yield f"  {contender.name:<8} " + "   ".join(cells) + note
    for gate in workload.gates:
        if gate.only_full and not full:
            yield f"    -    {gate.metric}: judged with --full only, since it is noise at this size"
        elif (line := judged(gate, figures)) is not None:
            yield f"    {line}"


def judged(gate: Gate, figures: Figures) -> str | None:
    """The verdict and the figure; None if what it is compared with is missing."""
    values, name = figures["ours"][gate.metric], gate.metric
    if gate.beside:
        others = figures.get(gate.beside, {}).get(gate.metric)
        if not others:
            return None
        values = [ours / other for ours, other in zip(values, others, strict=True)]
        name = f"{gate.metric}, ours/{gate.beside}"
    passed = [is_passed(gate, value) for value in values]
    verdict = "ok  " if all(passed) else "??  " if any(passed) else "MISS"
    wanted = f"at least {number(gate.least)}" if gate.least is not None else f"at most {number(gate.most or 0)}"
    return f"{verdict} {name}: {spread(values)}, {wanted}"


def is_passed(gate: Gate, value: float) -> bool:
    """Whether one figure is good enough."""
    return (gate.least is None or value >= gate.least) and (gate.most is None or value <= gate.most)


def spread(values: list[float]) -> str:
    """The median, and the range if there is one."""
    middle = number(statistics.median(values))
    low, high = number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def number(value: float) -> str:
    """Three figures, or all that stand before the point."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
