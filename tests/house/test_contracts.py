"""The import contract of ours: what it lets pass and what not."""

from __future__ import annotations

import pytest
from grimp import ImportGraph

from tests.house.contracts import ReachContract

TABLE = ["runtime -> engine backends.__init__", "model -> errors"]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("runtime.worker", "engine.loop"),
        ("runtime.worker", "runtime.activation"),
        ("runtime.worker", "backends"),
        ("cli.demo", "backends.memory"),
    ],
)
def test_what_the_table_names_may_be_imported(importer: str, imported: str) -> None:
    assert _is_kept(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("runtime.worker", "backends.memory"), ("runtime.worker", "server"), ("model.runs", "engine"), ("model.runs", "")],
)
def test_nothing_else_may_be_imported(importer: str, imported: str) -> None:
    assert not _is_kept(importer, imported)


def _is_kept(importer: str, imported: str) -> bool:
    graph = ImportGraph()
    target = f"app.{imported}".rstrip(".")
    for module in (f"app.{importer}", target):
        graph.add_module(module)
    graph.add_import(importer=f"app.{importer}", imported=target, line_number=1, line_contents="")
    contract = ReachContract("reach", {"root_packages": ["app"]}, {"may_import": TABLE})
    return contract.check(graph, verbose=False).kept
