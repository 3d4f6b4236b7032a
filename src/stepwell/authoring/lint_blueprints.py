"""The linter of blueprint documents: mistakes of form and findings about the graph, in one list."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from stepwell.engine.graph.findings import Finding
from stepwell.engine.graph.lint import lint
from stepwell.formats.flowcraft import read
from stepwell.formats.unknown import unknown_fields


def lint_document(
    document: dict[str, Any],
    *,
    implementations: Collection[str] | None = None,
    blueprints: Collection[str] | None = None,
    keys: Collection[str] | None = None,
) -> list[Finding]:
    """Everything about a document, errors first. What is too broken to read is told and left out of the rest.

    The options are those of `lint`. `parse_document` makes a document from text.
    """
    draft = read(document)
    taken = implementations or ()
    found = [
        Finding(code=m.code, severity="error", message=m.message, path=m.path, node_id=m.node_id)
        for m in draft.mistakes
    ]
    told = {finding.path for finding in found}
    paths = (draft.node_paths, draft.edge_paths)
    graph = lint(draft.graph, implementations=implementations, blueprints=blueprints, keys=keys, paths=paths)
    found += [finding for finding in graph if finding.path not in told]
    found += [
        Finding(
            code="UNKNOWN_FIELD",
            severity="warning",
            message=f"means nothing here; did you mean {unknown.meant!r}?",
            path=unknown.path,
            node_id=unknown.node_id,
        )
        for unknown in unknown_fields(document, implementations=taken)
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")
