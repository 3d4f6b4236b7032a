"""Random blueprints: every order of the world and every replay gives what the evaluator says.

`STEPWELL_BLUEPRINTS=5000` tries that many seeds instead of some hundred, `STEPWELL_BLUEPRINTS_FROM` begins elsewhere.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.testing.blueprints.evaluator import evaluate
from stepwell.testing.blueprints.generator import generate
from tests.blueprints.comparing import check

SEEDS = int(os.environ.get("STEPWELL_BLUEPRINTS", "300"))
FIRST = int(os.environ.get("STEPWELL_BLUEPRINTS_FROM", "0"))
GROUP = 50


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, GROUP))
def test_a_random_blueprint_gives_what_the_evaluator_says(first: int) -> None:
    for seed in range(first, min(first + GROUP, FIRST + SEEDS)):
        try:
            check(generate(Random(seed)), Random(seed))
        except Exception as error:
            error.add_note(f"blueprint of seed {seed}: see generate(Random({seed}))")
            raise


@given(size=st.integers(1, 8), rng=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_small_blueprint_gives_what_the_evaluator_says(size: int, rng: Random) -> None:
    check(generate(rng, size), rng)


def test_the_generator_makes_what_there_is_to_try() -> None:
    uses: dict[str, int] = {}
    states: dict[str, int] = {}
    for seed in range(200):
        case = generate(Random(seed))
        for document in [case.document, *case.blueprints.values()]:
            nodes = document["nodes"]
            for node in nodes.values() if isinstance(nodes, dict) else nodes:
                uses[node["uses"]] = uses.get(node["uses"], 0) + 1
        found = evaluate(case.document, case.input, blueprints=case.blueprints, script=case.script)
        for state in [found.status, *found.states.values()]:
            states[state] = states.get(state, 0) + 1

    wanted = {"mix", "route", "write", "set", "wait", "sleep", "subflow", "loop-controller", "batch-scatter", "spawn"}
    assert wanted <= {name for name, count in uses.items() if count > 5}
    assert {"completed", "skipped", "failed", "recovered"} <= {name for name, count in states.items() if count > 5}
