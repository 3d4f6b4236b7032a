"""The kit run by itself: verdicts, exit codes, and the badge."""

from __future__ import annotations

import pytest

from stepwell import backends
from stepwell.backends.memory.side import MemoryBlobs
from stepwell.ports import Backend
from stepwell.testing.contracts import BlobsContract, Contract
from stepwell.testing.contracts.__main__ import main
from stepwell.testing.contracts.badge import PORTS, badge, names_of_tests


class Sound(Contract):
    is_shared = False
    is_durable = False

    async def open(self) -> Backend:
        return await backends.open("memory://")


class Lost(MemoryBlobs):
    async def put(self, key: str, data: bytes) -> None:
        await super().put(key, data[:99])


class Unsound(Sound):
    async def open(self) -> Backend:
        backend = await super().open()
        backend.blobs = Lost(backend.blobs._world)  # type: ignore[attr-defined, misc]
        return backend


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """One port shows what there is to show."""
    monkeypatch.setattr("stepwell.testing.contracts.badge.PORTS", {"Blobs": BlobsContract})


def test_a_sound_backend_gets_its_badge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{__name__}:Sound"]) == 0
    lines = capsys.readouterr().out.splitlines()
    passed = len(names_of_tests(type("All", (Sound, BlobsContract), {})))
    assert lines[1].split() == ["Blobs", str(passed), "0"]
    assert lines[2] == "not offered, so not tried: several processes, closing and opening again, cut connections"
    assert lines[-1] == badge(Sound)


def test_an_unsound_backend_is_told_what_failed_where_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{__name__}:Unsound"]) == 1
    text = capsys.readouterr().out
    assert "  test_what_was_put_is_got\n    side.py:" in text
    assert 'assert await backend.blobs.get("run/a") == data' in text
    assert "AssertionError" in text
    assert "![" not in text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "usage"),
        (["no_colon"], "usage"),
        (["absent_module:Kit"], "absent_module"),
        ([f"{__name__}:Absent"], "Absent"),
        ([f"{__name__}:Lost"], "inherits from something else"),
        ([f"{__name__}:main"], "main is no class"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err


def test_a_badge_names_the_version_and_what_was_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.testing.contracts.badge.version", lambda name: "1.2-beta")

    class Durable(Sound):
        is_durable = True

    class Shared(Durable):
        is_shared = True

    assert badge(Shared) == (
        "![Stepwell backend contracts 1.2-beta]"
        "(https://img.shields.io/badge/Stepwell_backend_contracts-1.2--beta-brightgreen)"
    )
    assert "1.2-beta, one process]" in badge(Durable)
    assert "1.2-beta, in memory]" in badge(Sound)


def test_the_kit_has_tests_for_every_port() -> None:
    counts = {port: len(names_of_tests(type("All", (Sound, contract), {}))) for port, contract in PORTS.items()}
    assert list(counts) == ["Store", "Queue", "Coordination", "Blobs", "Streams"]
    assert min(counts.values()) >= 5
