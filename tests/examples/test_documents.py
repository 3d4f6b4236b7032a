"""The documents show code that runs, commands that exist, and links that lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepwell.cli.parser import parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCED = re.compile(r"(?:<!-- (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@documents
def test_every_python_block_is_part_of_the_file_that_it_names(document: Path) -> None:
    for block in FENCED.finditer(document.read_text(encoding="utf-8")):
        if block["language"] == "python":
            assert block["file"], f"name the file that holds this:\n{block['text']}"
            assert block["text"] in (ROOT / block["file"]).read_text(encoding="utf-8")


@documents
def test_every_command_in_a_console_block_can_be_parsed(document: Path) -> None:
    for command in _commands(document.read_text(encoding="utf-8")):
        parse([word for word in shlex.split(command, comments=True)[1:] if word != "&"])


@documents
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = LINK.findall(FENCED.sub("", document.read_text(encoding="utf-8")))
    assert [link for link in links if not (document.parent / link).exists()] == []


def _commands(text: str) -> Iterator[str]:
    for block in FENCED.finditer(text):
        if block["language"] == "console":
            for line in block["text"].splitlines():
                if line.startswith("$ stepwell "):
                    yield line.removeprefix("$ ").partition(" > ")[0]
