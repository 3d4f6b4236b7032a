"""Opening backends by URL."""

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
