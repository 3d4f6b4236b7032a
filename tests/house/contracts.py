"""The import rules that import-linter has no contract for: what each part may import directly."""

from __future__ import annotations

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ReachContract(Contract):
    """Each part listed imports only the parts that its line names; parts that do not exist yet are no error.

    A line reads ``importer -> part part``. ``part.__init__`` allows the front door of a part and nothing behind it,
    ``part.module`` that module.
    """

    type_name = "reach"
    may_import: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Every direct import in the graph, against its importer's line."""
        root = self.session_options["root_packages"][0]
        table = dict(_parse(line) for line in self.may_import)
        broken = []
        for module in sorted(graph.modules):
            part = _part(module, root)
            if part not in table:
                continue
            broken += [
                (module, target, graph.get_import_details(importer=module, imported=target))
                for target in sorted(graph.find_modules_directly_imported_by(module))
                if _part(target, root) != part and not _allowed(target, root, table[part])
            ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line per import that is not allowed."""
        for module, target, details in check.metadata["broken"]:
            lines = ", ".join(str(detail["line_number"]) for detail in details)
            output.print_error(f"{module} may not import {target} (line {lines})", bold=False)


def _parse(line: str) -> tuple[str, frozenset[str]]:
    importer, _, parts = line.partition("->")
    return importer.strip(), frozenset(parts.split())


def _part(module: str, root: str) -> str:
    return module.removeprefix(root).lstrip(".").partition(".")[0]


def _allowed(target: str, root: str, parts: frozenset[str]) -> bool:
    part = _part(target, root)
    is_front_door = target == f"{root}.{part}" and f"{part}.__init__" in parts
    return part in parts or is_front_door or target.removeprefix(f"{root}.") in parts
