"""Simulations that went wrong once, as files: what they found must not come back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from stepwell.testing import Scenario, simulate

FILES = sorted(Path(__file__).with_name("scenarios").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_scenario_that_found_a_mistake_goes_well(file: Path) -> None:
    verdict = simulate(msgspec.json.decode(file.read_bytes(), type=Scenario))

    assert verdict.violation is None
