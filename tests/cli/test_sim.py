"""`stepwell sim`: many seeds, one seed, one scenario; and how a failure reads."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from stepwell.testing.simulator.files import scenario_json
from stepwell.testing.simulator.plans import Do
from stepwell.testing.simulator.scenarios import RunScript, Scenario, Settings
from tests.cli.support import SRC, Shell

BLIND = """
from msgspec.structs import replace
from stepwell.backends.memory.store import MemoryStore

park = MemoryStore.park

async def blindly(store, parks):
    return await park(store, [replace(each, mail=None) for each in parks])

MemoryStore.park = blindly
"""


@pytest.fixture
def broken(shell: Shell) -> Shell:
    """A shell whose Stepwell lets runs go although they have mail: Python imports this file at its start."""
    (shell.folder / "site").mkdir()
    (shell.folder / "site" / "sitecustomize.py").write_text(BLIND, encoding="utf-8")
    shell._env["PYTHONPATH"] = os.pathsep.join((str(shell.folder / "site"), str(SRC)))
    return shell


def _file(shell: Shell) -> Path:
    (found,) = shell.folder.glob("stepwell-sim-*.json")
    return found


def test_seeds_that_pass_are_counted(shell: Shell) -> None:
    done = shell("sim", "--seeds", "6", "--jobs", "2")

    assert done.returncode == 0, done.stderr
    assert "again: stepwell sim --from" in done.stderr
    assert "6 seeds: all invariants hold" in done.stderr


def test_the_numbers_can_be_had_as_json(shell: Shell) -> None:
    told = shell.json("sim", "--seeds", "3", "--from", "11", "--json")

    assert (told["ok"], told["first"], told["tried"], told["failures"]) == (True, 11, 3, [])
    assert told["calls"] > 0


def test_a_seed_is_replayed(shell: Shell) -> None:
    done = shell("sim", "--seed", "7")

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("seed 7: all invariants hold; ")
    assert done.stdout == ""


def test_a_replay_is_told_if_that_is_asked_for(shell: Shell) -> None:
    scenario = Scenario(seed=1, settings=Settings(), runs=(RunScript("r0", 0, Do("a")),))
    (shell.folder / "mine.json").write_text(scenario_json(scenario), encoding="utf-8")

    done = shell("sim", "--scenario", "mine.json", "-v")

    assert done.returncode == 0, done.stderr
    assert "a client starts r0, which does: do a 0s" in done.stdout
    assert "the journal of r0:" in done.stdout
    assert "mine.json: all invariants hold" in done.stderr


def test_a_failure_says_what_and_how_to_replay_it(broken: Shell) -> None:
    done = broken("sim", "--seeds", "2000", "--from", "0")

    assert done.returncode == 1, done.stderr
    file = _file(broken)
    seed = file.stem.rpartition("-")[2]
    assert done.stdout.startswith(f"seed {seed} fails\n  invariant ")
    for text in ("does not hold", "what happens in it:", "the journal of", "the scenario:"):
        assert text in done.stdout
    assert f"stepwell sim --seed {seed}\n" in done.stdout
    assert f"stepwell sim --scenario ./{file.name}" in done.stdout

    again = broken("sim", "--scenario", file.name)
    assert again.returncode == 1
    assert again.stdout.startswith("invariant ")

    unshrunk = broken("sim", "--seed", seed, "--no-shrink", "--json")
    assert unshrunk.returncode == 1
    (failure,) = msgspec.json.decode(unshrunk.stdout)["failures"]
    assert (failure["seed"], failure["scenario"]["seed"], failure["file"]) == (int(seed), int(seed), f"./{file.name}")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--seed", "7", "--jobs", "2"], "--seed replays one simulation; leave out --jobs"),
        (["--seed", "7", "--scenario", "x.json"], "--scenario replays one simulation; leave out --seed"),
        (["--seeds", "0"], "--seeds 0: give a number from 1 on"),
        (["--scenario", "missing.json"], "there is no file missing.json in "),
        (["--scenario", "orders.py"], "orders.py holds no scenario: JSON is malformed"),
    ],
)
def test_wrong_use_is_said_in_a_paragraph(shell: Shell, words: list[str], complaint: str) -> None:
    done = shell("sim", *words)

    assert done.returncode == 2
    assert complaint in done.stderr
