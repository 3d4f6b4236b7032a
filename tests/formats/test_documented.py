"""Everything that docs/blueprint-files.md says of the linter and of the fields is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stepwell.authoring.lint_blueprints import lint_document
from stepwell.formats.unknown import FIELDS
from stepwell.model.blueprint_rules import PARAMETERS
from stepwell.model.blueprints import ALIASES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "blueprint-files.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### `(\w+)` \((\w+)\)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
SECTIONS = {code: (severity, text) for code, severity, text in SECTION.findall(TEXT)}
EXAMPLES = {
    code: (severity, json.loads(block))
    for code, (severity, text) in SECTIONS.items()
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)
}
SOURCES = [
    "model/blueprint_rules.py",
    "formats/fields.py",
    "authoring/lint_blueprints.py",
    *(f"engine/graph/{name}.py" for name in ("lint", "lint_data", "lint_expressions")),
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_of_a_code_is_found(code: str) -> None:
    severity, document = EXAMPLES[code]

    found = lint_document(document, implementations={"fetch", "store"}, blueprints=["child"])

    assert (code, severity) in {(finding.code, finding.severity) for finding in found}
    assert {finding.code for finding in found} <= {code, "CYCLE_WITHOUT_EXIT", "SELF_EDGE", "ORPHAN_NODE"}


def test_every_code_is_documented() -> None:
    text = "".join((ROOT / "src" / "stepwell" / source).read_text(encoding="utf-8") for source in SOURCES)

    assert set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text)) == set(SECTIONS)
    assert set(SECTIONS) - set(EXAMPLES) == {"EXPRESSION_UNCHECKED"}


def test_every_field_is_documented() -> None:
    names = {f"metadata.{name}" for name in FIELDS["metadata"]} | {f"config.{name}" for name in FIELDS["config"]}
    names |= set(FIELDS["node"]) - {"config"} | set(FIELDS["edge"]) | set(FIELDS[""]) - {"metadata"}
    names |= set(ALIASES) | {name for parameters in PARAMETERS.values() for name in parameters}

    assert {name for name in names if f"`{name}`" not in TEXT} == set()
