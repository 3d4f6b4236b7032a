"""The JSON Schema of blueprints, for editors. What only the whole document can tell, such as an edge to nowhere, is not
in it; the linter tells that."""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

NAME = "blueprint.schema.json"
"""The file, beside this one."""


def blueprint_schema() -> dict[str, Any]:
    """A new copy of the schema (JSON Schema 2020-12)."""
    text = resources.files("stepwell.formats").joinpath(NAME).read_bytes()
    return msgspec.json.decode(text, type=dict[str, Any])
