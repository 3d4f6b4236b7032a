"""Opening backends by URL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.backends.support import run_async

from stepwell import backends
from stepwell.errors import DefinitionError
from stepwell.testing.contracts.running import created, new_run


@run_async
async def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(DefinitionError, match=r"'nosql'.*memory://.*sqlite://"):
        await backends.open("nosql://host")


@pytest.mark.parametrize("url", ["", "memory", "sqlite:///", "sqlite://", "sqlite:///:memory:", "sqlite://host/path"])
@run_async
async def test_a_url_that_names_nothing_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError):
        await backends.open(url)


@pytest.mark.parametrize("query", ["relaxed=perhaps", "speed=9", "max_pages="])
@run_async
async def test_an_unknown_option_or_value_is_refused(query: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=query.partition("=")[0]):
        await backends.open(f"sqlite:///{tmp_path}/a.db?{query}")
    assert not (tmp_path / "a.db").exists()


@run_async
async def test_memory_has_no_options() -> None:
    with pytest.raises(DefinitionError, match="relaxed"):
        await backends.open("memory://", relaxed=True)


@run_async
async def test_a_path_may_be_relative_and_hold_any_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = await backends.open("sqlite:///my%20runs.db?relaxed=true")
    await backend.close()
    assert (tmp_path / "my runs.db").exists()


@run_async
async def test_each_unnamed_memory_is_a_world_of_its_own() -> None:
    one, two = await backends.open("memory://"), await backends.open("memory://")
    await created(one, new_run())
    await created(two, new_run())


@run_async
async def test_a_named_memory_is_shared_while_somebody_has_it_open() -> None:
    one, two = await backends.open("memory://shared"), await backends.open("memory://shared")
    await created(one, new_run())
    await one.close()
    assert await two.store.create([new_run()]) == [new_run().head]
    await two.close()
    three = await backends.open("memory://shared")
    await created(three, new_run())
    await three.close()


@contextmanager
def _installed(directory: Path, monkeypatch: pytest.MonkeyPatch, **packages: str) -> Iterator[None]:
    """Packages that each register one line in the group of backends, beside a module `other_backend`."""
    (directory / "other_backend.py").write_text(
        "from stepwell import backends\n"
        "async def connect(url, clock, options):\n"
        "    backend = await backends.open('memory://', clock=clock)\n"
        "    backend.url, backend.options = url, options\n"
        "    return backend\n"
    )
    for package, line in packages.items():
        info = directory / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[stepwell.backends]\n{line}\n")
    monkeypatch.syspath_prepend(directory)
    try:
        yield
    finally:
        sys.modules.pop("other_backend", None)


@run_async
async def test_another_package_can_register_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _installed(tmp_path, monkeypatch, one="other = other_backend:connect"):
        backend = await backends.open("other://host/path", size=3)
        assert (backend.url, backend.options) == ("other://host/path", {"size": 3})  # type: ignore[attr-defined]
        await created(backend, new_run())
        await backend.close()
        with pytest.raises(DefinitionError, match=r"known are memory://, other://, sqlite://"):
            await backends.open("nosql://host")


@run_async
async def test_nobody_takes_a_scheme_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _installed(tmp_path, monkeypatch, one="memory = other_backend:connect"):
        backend = await backends.open("memory://")
        assert not hasattr(backend, "options")
        await backend.close()


@pytest.mark.parametrize(
    ("target", "reason"),
    [("absent_module:connect", "No module named 'absent_module'"), ("other_backend:absent", "no attribute 'absent'")],
)
@run_async
async def test_a_registered_backend_that_cannot_be_loaded_names_its_package(
    target: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        _installed(tmp_path, monkeypatch, one=f"other = {target}"),
        pytest.raises(DefinitionError, match=rf"the package 'one' registers '{target}' for other://.*{reason}"),
    ):
        await backends.open("other://host")


@run_async
async def test_two_packages_with_one_scheme_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        _installed(tmp_path, monkeypatch, one="other = other_backend:connect", two="other = mine:connect"),
        pytest.raises(DefinitionError, match="the package 'one' and the package 'two'; uninstall all but one"),
    ):
        await backends.open("other://host")
