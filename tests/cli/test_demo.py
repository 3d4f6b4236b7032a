"""The demo, through to its proof; and that the proof can fail."""

from __future__ import annotations

from pathlib import Path

from msgspec import Raw

from stepwell.cli.demo.proof import prove
from stepwell.model.entries import Created, Frame, StepCompleted
from stepwell.model.ids import Claim, CommandId
from tests.cli.support import Shell


def test_the_demo_kills_a_worker_and_proves_that_nothing_ran_twice(shell: Shell) -> None:
    done = shell("demo", "--seconds", "1")

    assert done.returncode == 0, done.stderr + done.stdout
    assert "kill -9" in done.stdout
    assert "No completed step ran twice" in done.stdout
    assert "index_file ×" in done.stdout
    assert "\033" not in done.stdout
    listed = shell.json("runs", "list", "--json", "--backend", "sqlite:///.stepwell/demo/stepwell.db")
    assert [run["status"] for run in listed["runs"]] == ["completed"]


def journal(*steps: str) -> list[tuple[int, Frame]]:
    entries = [StepCompleted(id=CommandId(step), value=Raw(b"1")) for step in steps]
    frames = [Frame(1, Claim("c"), (entry,)) for entry in (Created(workflow="w", seed="00"), *entries)]
    return list(enumerate(frames, 1))


def effects(tmp_path: Path, *steps: str) -> Path:
    log = tmp_path / "effects.log"
    log.write_text("".join(f"{step}\t1\t1\n" for step in steps))
    return log


def test_a_step_that_was_under_way_may_run_again(tmp_path: Path) -> None:
    proof = prove(["a"], journal("a", "b"), effects(tmp_path, "a", "b", "b"))

    assert proof.holds
    assert proof.rerun == ("b",)


def test_a_completed_step_that_ran_again_breaks_the_proof(tmp_path: Path) -> None:
    proof = prove(["a"], journal("a", "b"), effects(tmp_path, "a", "a", "b"))

    assert not proof.holds
    assert proof.repeated == ("a",)


def test_a_step_without_an_effect_breaks_the_proof(tmp_path: Path) -> None:
    assert not prove([], journal("a", "b"), effects(tmp_path, "a")).holds


def test_a_gap_in_the_journal_breaks_the_proof(tmp_path: Path) -> None:
    frames = journal("a", "b")
    del frames[1]

    assert not prove([], frames, effects(tmp_path, "b")).holds
