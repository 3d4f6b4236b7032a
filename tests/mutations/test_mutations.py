"""The simulator catches something: each deliberate bug is found within a few times the seeds that it took before."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from stepwell.engine.retry import next_delay_ms
from tests.mutations.catalogue import MUTATIONS, hunt_named, measured
from tests.mutations.hunting import look
from tests.mutations.registry import Edit, Mutation, MutationError
from tests.mutations.weather import WEATHERS

LEAST = 50
TIMES = 5
UNDISTURBED = 12
MEASURED = measured()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process for worlds that are broken: what they leave behind stays there."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", MEASURED)
def test_a_deliberate_bug_is_found(name: str, elsewhere: ProcessPoolExecutor) -> None:
    before = MEASURED[name]
    limit = max(LEAST, TIMES * before.seeds)
    found = elsewhere.submit(hunt_named, name, limit, [before.weather]).result()
    assert found is not None, (
        f"{name!r} ({MUTATIONS[name].says}) is not found by {limit} seeds of {before.weather}, where it took "
        f"{before.seeds} when it was measured. If the scenarios have changed: python -m tests.mutations {name!r} --keep"
    )


@pytest.mark.parametrize("weather", WEATHERS)
def test_without_a_bug_the_same_seeds_find_nothing(weather: str) -> None:
    found = {seed: look(weather, seed) for seed in range(UNDISTURBED)}
    assert found == dict.fromkeys(range(UNDISTURBED))


def test_what_has_never_been_found_is_listed_with_the_reason() -> None:
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in MUTATIONS if name not in MEASURED and f"*{name}*" not in text] == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_can_be_made_of_the_code_as_it_is(name: str) -> None:
    with MUTATIONS[name].applied():
        pass


def test_the_code_is_as_before_afterwards() -> None:
    before = next_delay_ms.__code__
    with MUTATIONS["one attempt too many"].applied():
        assert next_delay_ms.__code__ is not before
    assert next_delay_ms.__code__ is before


def test_a_mutation_of_code_that_has_changed_says_so() -> None:
    edits = (Edit("engine.retry:next_delay_ms", "what was there once", ""),)
    with (
        pytest.raises(MutationError, match="holds 0 times 'what was there once', not once"),
        Mutation(name="old", says="", stands_for="", edits=edits).applied(),
    ):
        raise AssertionError("it cannot be made")
