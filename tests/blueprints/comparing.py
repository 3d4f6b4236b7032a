"""Whether a run gave what the evaluator says."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from stepwell.testing.blueprints.evaluator import CODES, Evaluation, evaluate
from stepwell.testing.blueprints.sheets import Case
from tests.blueprints.play import Played, Player, Table, replayed

UNTOLD = {"batch-scatter", "BatchScatterNode", "webhook", "WebhookNode", "loop-controller"}
"""Nodes whose outputs along the way the evaluator does not tell."""


def check(case: Case, rng: Random, orders: int = 2, prefixes: int = 3) -> None:
    """Play a case in some orders; go on otherwise from somewhere in each, and replay it from some prefixes of its
    journal. Compare everything."""
    expected = evaluate(case.document, case.input, blueprints=case.blueprints, script=case.script)
    table = Table(case.document, case.input, case.blueprints, case.script)
    for _ in range(orders):
        player = Player(table, rng)
        played = player.play()
        assert_same(case, expected, played)
        length = len(player.journal)
        assert_same(case, expected, Player(table, rng, player.journal[: rng.randint(0, length)]).play())
        for count in {0, length, *(rng.randint(0, length) for _ in range(prefixes))}:
            again = replayed(table, player, count)
            assert again == played, f"replayed after {count} entries: {again} instead of {played}"


def assert_same(case: Case, expected: Evaluation, played: Played) -> None:
    found = list(differences(case, expected, played))
    assert not found, "\n".join(found)


def differences(case: Case, expected: Evaluation, played: Played) -> Iterator[str]:
    if expected.status != played.status:
        yield f"status: expected {expected.status} {expected.failures}, played {played.status} {played.failure}"
        return
    if not case.is_exact:
        return
    if expected.status == "failed":
        failed = {id for id, state in expected.visits.items() if state == "failed"}
        if not any(played.failure.startswith(f"node {id!r}: ") for id in failed):
            yield f"failure: expected one of {failed}, played {played.failure}"
    else:
        yield from _unlike("value", expected.value, played.value)
    steps = [{id for id in ids if not _is_loose(case, id)} for ids in (expected.steps, played.steps)]
    yield from _unlike("steps", sorted(steps[0] - steps[1]), sorted(steps[1] - steps[0]))
    for what in ("outputs", "inputs", "state"):
        one, other = getattr(expected, what), getattr(played, what)
        for key in sorted({*one, *other} - _untold(case, what)):
            yield from _unlike(f"{what} {key}", one.get(key, "nothing"), other.get(key, "nothing"))


def _unlike(what: str, expected: object, played: object) -> Iterator[str]:
    if expected != played:
        yield f"{what}: expected {expected!r}, played {played!r}"


def _is_loose(case: Case, id: str) -> bool:
    stems = [stem.translate(CODES) for stem in case.loose]
    return "[" in id and any(f"{stem}[" in id or f"{stem}:" in id for stem in stems)


def _untold(case: Case, what: str) -> set[str]:
    """Nodes that are not to be compared: what reaches a join of any first depends on the order."""
    nodes = case.document["nodes"] or []
    entries = nodes.values() if isinstance(nodes, dict) else nodes
    found = {node["id"] for node in entries if node["uses"] in UNTOLD}
    if what == "inputs":
        found |= {node["id"] for node in entries if node.get("config", {}).get("joinStrategy") == "any"}
    return found
